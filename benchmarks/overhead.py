"""Measure the time that Lightning adds to a step: run `firstlight.Trainer` and a bare training loop alternately.

All loops have the same batches, network, precision, loss and optimizer. "bare" does nothing else. "lightning" is
`firstlight.Trainer` without logger and progress bar, and "fit" is the trainer as `firstlight fit` configures it
(TensorBoard every ten steps, the learning rate, progress lines). The network is small, so that the overhead is a
visible part of a step; the overhead does not depend on the network.

    python benchmarks/overhead.py --num_turns 7 --num_steps 200
"""

from __future__ import annotations

import argparse
import tempfile
import time
from typing import Any

import torch
from pytorch_lightning.loggers import TensorBoardLogger
from torch.nn import functional as F

from firstlight.cli.quiet import quiet_lightning
from firstlight.data.batches import Augmentation, Batches
from firstlight.data.sampler import EpochSampler
from firstlight.networks import ResNet9, ResNet9Config
from firstlight.recipes.config import Recipe
from firstlight.training.bench import noise_images
from firstlight.training.callbacks.step_clock import StepClock
from firstlight.training.module import Classifier
from firstlight.training.optimizers import build_optimizer
from firstlight.training.precision import default_precision
from firstlight.training.trainer import SILENT, Trainer
from record import command_line, record, spread

WARMUP_STEPS = 10
LOOPS = ("bare", "lightning", "fit")


def make_batches(batch_size: int, num_steps: int) -> Batches:
    count = batch_size * (WARMUP_STEPS + num_steps)
    return Batches(noise_images(count), EpochSampler(count, batch_size, shuffle=True, seed=0), Augmentation())


def make_network() -> ResNet9:
    torch.manual_seed(0)
    return ResNet9(10, ResNet9Config(width=4)).to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def bare_ms(batches: Batches, recipe: Recipe) -> float:
    """Return milliseconds per step of a bare training loop."""
    network = make_network()
    optimizer = build_optimizer(recipe.optimizer, network)
    uses_bfloat16 = default_precision("cpu") == "bf16-mixed"
    started_s = 0.0
    for step, batch in enumerate(batches):
        if step == WARMUP_STEPS:
            started_s = time.perf_counter()
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=uses_bfloat16):
            logits = network(batch.images).float()
            loss = F.cross_entropy(logits, batch.labels)
        loss.backward()
        optimizer.step()
    return 1000 * (time.perf_counter() - started_s) / (len(batches) - WARMUP_STEPS)


def lightning_ms(batches: Batches, recipe: Recipe, logs_dir: str | None) -> float:
    """Return milliseconds per step of `firstlight.Trainer`."""
    clock = StepClock(WARMUP_STEPS)
    as_in_fit: dict[str, Any] = {}
    if logs_dir:
        as_in_fit = {"logger": TensorBoardLogger(logs_dir, name="overhead"), "enable_progress_bar": True}
    trainer = Trainer(max_epochs=1, accelerator="cpu", callbacks=[clock], **(SILENT | as_in_fit))
    trainer.fit(Classifier(make_network(), recipe), batches)
    return 1000 * clock.seconds / (len(batches) - WARMUP_STEPS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--num_turns", type=int, default=7)
    parser.add_argument("--num_steps", type=int, default=200)
    parser.add_argument("--batch_size", type=int, default=64)
    options = parser.parse_args()
    quiet_lightning()
    batches, recipe = make_batches(options.batch_size, options.num_steps), Recipe()
    found: dict[str, list[float]] = {loop: [] for loop in LOOPS}
    with tempfile.TemporaryDirectory() as logs_dir:
        for _ in range(options.num_turns):
            found["bare"].append(bare_ms(batches, recipe))
            found["lightning"].append(lightning_ms(batches, recipe, None))
            found["fit"].append(lightning_ms(batches, recipe, logs_dir))
            print("  ".join(f"{loop} {values[-1]:.2f} ms" for loop, values in found.items()), flush=True)
    results = {
        "what": "milliseconds per step, ResNet9 of width 4, Adam, and the time that Lightning adds",
        "batch_size": options.batch_size,
        "num_steps": options.num_steps,
        "precision": default_precision("cpu"),
        "added_by_lightning": spread([a - b for a, b in zip(found["lightning"], found["bare"], strict=True)]),
        "added_by_fit": spread([a - b for a, b in zip(found["fit"], found["bare"], strict=True)]),
    }
    print(record("overhead", command_line(), results | {loop: spread(values) for loop, values in found.items()}))


if __name__ == "__main__":
    main()
