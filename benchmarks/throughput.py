"""Compare the training throughput of ResNet9 in `firstlight.Trainer` and in a plain implementation, alternately.

The plain implementation does what most tutorials do: float32, NCHW, per-image transforms (crop after padding, flip, to
tensor, normalize) in a DataLoader with worker processes, and a bare training loop. firstlight is `firstlight.Trainer`
with its defaults on whole batches. Network, loss, optimizer and batch size are the same, and the images are random. The
first steps of every turn are not counted.

    python benchmarks/throughput.py --num_turns 3 --num_steps 4
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time

import numpy as np
import torch
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from firstlight.cli.quiet import quiet_lightning
from firstlight.data.batches import Augmentation, Batches
from firstlight.data.images import ImageSet
from firstlight.data.sampler import EpochSampler
from firstlight.layers.normalize import CIFAR10_MEAN, CIFAR10_STD
from firstlight.networks import ResNet9
from firstlight.training.bench import noise_images
from firstlight.training.callbacks.step_clock import StepClock
from firstlight.training.module import Classifier
from firstlight.training.precision import default_precision
from firstlight.training.trainer import SILENT, Trainer
from record import command_line, record, spread

WARMUP_STEPS = 2


class PlainImages(Dataset):
    """Images that are transformed one by one, as in a tutorial."""

    def __init__(self, images: np.ndarray, labels: np.ndarray) -> None:
        self.images, self.labels = images, labels
        self.mean = torch.tensor(CIFAR10_MEAN).reshape(3, 1, 1)
        self.std = torch.tensor(CIFAR10_STD).reshape(3, 1, 1)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        padded = np.pad(self.images[index], ((4, 4), (4, 4), (0, 0)))
        top, left = np.random.randint(0, 9, 2)  # noqa: NPY002  # as the tutorials do
        image = padded[top : top + 32, left : left + 32]
        if np.random.rand() < 0.5:  # noqa: NPY002
            image = image[:, ::-1]
        tensor = torch.from_numpy(image.transpose(2, 0, 1).copy()).float().div(255)
        return (tensor - self.mean) / self.std, int(self.labels[index])


def plain_rate(images: ImageSet, batch_size: int, num_steps: int, num_workers: int) -> float:
    """Return images per second of the plain implementation."""
    pairs = PlainImages(images.images.permute(0, 2, 3, 1).numpy(), images.labels.numpy())
    loader = DataLoader(pairs, batch_size, shuffle=True, num_workers=num_workers)
    network = ResNet9(10)
    network.normalize = torch.nn.Identity()  # type: ignore[assignment]  # the transform has done it
    optimizer = torch.optim.Adam(network.parameters(), lr=0.001)
    started_s = 0.0
    for step, (pixels, labels) in enumerate(loader):
        if step == WARMUP_STEPS:
            started_s = time.perf_counter()
        loss = F.cross_entropy(network(pixels), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loss.item()
        if step + 1 == WARMUP_STEPS + num_steps:
            break
    return num_steps * batch_size / (time.perf_counter() - started_s)


def firstlight_rate(images: ImageSet, batch_size: int, num_steps: int) -> float:
    """Return images per second of `firstlight.Trainer`."""
    clock = StepClock(WARMUP_STEPS)
    batches = Batches(images, EpochSampler(len(images), batch_size, shuffle=True, seed=0), Augmentation())
    trainer = Trainer(
        max_epochs=1,
        limit_train_batches=WARMUP_STEPS + num_steps,
        accelerator="cpu",
        callbacks=[clock],
        **SILENT,
    )
    trainer.fit(Classifier(ResNet9(10)), batches)
    return num_steps * batch_size / clock.seconds


def turn(implementation: str, options: argparse.Namespace) -> float:
    """Measure one implementation in a new process, so that neither benefits from the other's settings."""
    command = [sys.executable, __file__, "--only", implementation, "--num_steps", str(options.num_steps)]
    command += ["--batch_size", str(options.batch_size), "--num_workers", str(options.num_workers)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--num_turns", type=int, default=3)
    parser.add_argument("--num_steps", type=int, default=4)
    parser.add_argument("--batch_size", type=int, default=512)
    parser.add_argument("--num_workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument(
        "--only", choices=["plain", "firstlight"], help="measure one implementation once and print the rate"
    )
    options = parser.parse_args()
    if options.only:
        quiet_lightning()
        images = noise_images(options.batch_size * (WARMUP_STEPS + options.num_steps))
        if options.only == "plain":
            print(plain_rate(images, options.batch_size, options.num_steps, options.num_workers))
        else:
            print(firstlight_rate(images, options.batch_size, options.num_steps))
        return
    rates: dict[str, list[float]] = {"plain": [], "firstlight": []}
    for _ in range(options.num_turns):
        for implementation, found in rates.items():
            found.append(turn(implementation, options))
            print(f"{implementation} {found[-1]:.1f} images/s", flush=True)
    ratios = [a / b for a, b in zip(rates["firstlight"], rates["plain"], strict=True)]
    results = {
        "what": "training images per second, ResNet9, Adam",
        "batch_size": options.batch_size,
        "precision": {"firstlight": default_precision("cpu"), "plain": "32-true"},
        "num_workers": {"firstlight": 0, "plain": options.num_workers},
        "ratio": spread(ratios),
    }
    print(record("throughput", command_line(), results | {name: spread(found) for name, found in rates.items()}))


if __name__ == "__main__":
    main()
