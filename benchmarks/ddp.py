"""Measure seconds per epoch with one and with two processes on one machine, with the same total number of threads.

One process with one thread per core alternates with two processes that have half of the threads each. They train
ResNet9 on random images with a batch of 512 over all processes; the first epoch of every turn is not counted. Two
processes on one machine do not train faster on a CPU; the benchmark measures their cost.

    python benchmarks/ddp.py --num_turns 3
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from firstlight.cli.quiet import quiet_lightning
from firstlight.data.batches import Augmentation, Batches
from firstlight.data.sampler import EpochSampler
from firstlight.networks import ResNet9
from firstlight.training.bench import noise_images
from firstlight.training.module import Classifier
from firstlight.training.trainer import Trainer
from record import command_line, record, spread

NUM_IMAGES = 2048
BATCH_SIZE = 512
NUM_EPOCHS = 3  # the first is not counted


class Images(pl.LightningDataModule):
    """Random images that are split between the processes."""

    def train_dataloader(self) -> Batches:
        assert self.trainer is not None
        rank, num_ranks = self.trainer.global_rank, self.trainer.world_size
        sampler = EpochSampler(NUM_IMAGES, BATCH_SIZE, shuffle=True, seed=0, rank=rank, num_ranks=num_ranks)
        return Batches(noise_images(NUM_IMAGES), sampler, Augmentation())


class Epochs(pl.Callback):
    """Record the seconds of every epoch."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.started_s = time.perf_counter()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.seconds.append(time.perf_counter() - self.started_s)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--num_turns", type=int, default=3)
    parser.add_argument("--num_processes", type=int, help=argparse.SUPPRESS)  # for the processes of a turn
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    quiet_lightning()
    if options.out:
        turn(options.num_processes, options.out)
        return
    load_before = os.getloadavg()[0]
    seconds: dict[int, list[float]] = {1: [], 2: []}
    for _ in range(options.num_turns):
        for num_processes, found in seconds.items():
            found += run_turn(num_processes)
    one, two = (spread(each) for each in seconds.values())
    results: dict[str, Any] = {
        "what": f"seconds for an epoch of {NUM_IMAGES} images, ResNet9, batch {BATCH_SIZE} over all processes, gloo",
        "one_process_s": one,
        "two_processes_s": two,
        "two_over_one": two["median"] / one["median"],
        "two_over_one_fastest": min(two["values"]) / min(one["values"]),
        "threads": {"one_process": os.cpu_count(), "two_processes": f"{threads(2)} each"},
        "load_average_1_min_before": load_before,
        "note": "Other work shared the cores: the fastest epochs say most." if load_before > 0.5 else "Idle machine.",
    }
    print(results)
    print(record("ddp", command_line(), results))


def threads(num_processes: int) -> int:
    """Return the number of threads of each process."""
    return max(1, (os.cpu_count() or 1) // num_processes)


def run_turn(num_processes: int) -> list[float]:
    """Train in new processes and return the seconds of each epoch but the first."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "seconds.json")
        command = [sys.executable, __file__, "--num_processes", str(num_processes), "--out", str(out)]
        environment = os.environ | {"OMP_NUM_THREADS": str(threads(num_processes))}
        subprocess.run(command, check=True, env=environment)
        return list(json.loads(out.read_text(encoding="utf-8")))


def turn(num_processes: int, out: Path) -> None:
    """Train, and let the first process write the times."""
    epochs = Epochs()
    several = {"strategy": "ddp", "devices": num_processes} if num_processes > 1 else {"devices": 1}
    trainer = Trainer(
        max_epochs=NUM_EPOCHS,
        accelerator="cpu",
        callbacks=[epochs],
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=False,
        **several,
    )
    trainer.fit(Classifier(ResNet9(10)), datamodule=Images())
    if trainer.is_global_zero:
        out.write_text(json.dumps(epochs.seconds[1:]), encoding="utf-8")


if __name__ == "__main__":
    main()
