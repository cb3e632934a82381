"""Measure the cost of checkpoints of ResNet9 with Adam's state, which are written, hashed and flushed to disk.

First ResNet9 trains for `--minutes` on random images with the default checkpoint interval, which gives the share of the
time that checkpoints take. Then the script writes checkpoints one after another into the same folder.

    python benchmarks/checkpoint.py --minutes 4 --place logs
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from firstlight.cli.quiet import quiet_lightning
from firstlight.data.batches import Augmentation, Batches
from firstlight.data.sampler import EpochSampler
from firstlight.networks import ResNet9
from firstlight.runs.checkpoints import CheckpointFolder
from firstlight.training.bench import noise_images
from firstlight.training.callbacks.checkpointing import Checkpointing, CheckpointTimes
from firstlight.training.callbacks.epoch_means import EpochMeans
from firstlight.training.callbacks.finite_loss import FiniteLoss
from firstlight.training.callbacks.stop_signals import StopSignals
from firstlight.training.checkpoint_io import CheckpointIO
from firstlight.training.module import Classifier
from firstlight.training.trainer import Trainer
from record import command_line, record, spread

NUM_IMAGES = 8192
BATCH_SIZE = 512


class StopAfterDuration(pl.Callback):
    """After `duration_s` of training, write checkpoints one after another and end the training."""

    def __init__(self, checkpointing: Checkpointing, duration_s: float, num_writes: int) -> None:
        self.checkpointing, self.duration_s, self.num_writes = checkpointing, duration_s, num_writes
        self.found: dict[str, Any] = {}

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        train_s = self.checkpointing.clock.train_s
        if self.found or train_s < self.duration_s or batch_idx == 0:
            return
        self.found = {
            "train_s": train_s,
            "num_steps": trainer.global_step,
            "checkpoints_s": self.checkpointing.spent_s,
            "share_of_training_time": self.checkpointing.spent_s / train_s,
            "num_checkpoints": int(self.checkpointing.folder.files()[-1].name.partition("-")[0]),
            "size_mb": self.checkpointing.folder.files()[-1].stat().st_size / 1e6,
        }
        seconds = []
        for _ in range(self.num_writes):
            started_s = time.perf_counter()
            self.checkpointing._save(trainer, "batch start")
            seconds.append(time.perf_counter() - started_s)
        self.found["one_checkpoint_s"] = spread(seconds)
        trainer.should_stop = True


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=4)
    parser.add_argument("--num_writes", type=int, default=10)
    parser.add_argument(
        "--place", type=Path, help="the folder to write into; by default the folder for temporary files"
    )
    options = parser.parse_args()
    quiet_lightning()
    load_before = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(dir=options.place) as place:
        found = measure(Path(place), options.minutes * 60, options.num_writes)
    times = CheckpointTimes()
    cost_s = found["one_checkpoint_s"]["median"]
    results = {
        "what": "a checkpoint of ResNet9 with Adam's state: collected, checked, serialized, hashed, written, fsynced",
        "batch_size": BATCH_SIZE,
        "every_s": times.every_s,
        "allowed_share": times.share,
        "seconds_between_two_at_that_share": cost_s / times.share,
        "load_average_1_min_before": load_before,
        "note": "Other work shared the cores." if load_before > 0.5 else "The machine was idle.",
    } | found
    print(results)
    print(record("checkpoint", command_line(), results))


def measure(place: Path, duration_s: float, num_writes: int) -> dict[str, Any]:
    """Train for `duration_s` in a folder and return the times of its checkpoints."""
    images = noise_images(NUM_IMAGES)
    batches = Batches(images, EpochSampler(NUM_IMAGES, BATCH_SIZE, shuffle=True, seed=0), Augmentation())
    module = Classifier(ResNet9(10))
    folder = CheckpointFolder(place / "checkpoints")
    checkpointing = Checkpointing(folder, place, module.recipe, CheckpointTimes(), StopSignals(place))
    stop = StopAfterDuration(checkpointing, duration_s, num_writes)
    trainer = Trainer(
        max_epochs=10_000,
        callbacks=[checkpointing, FiniteLoss(folder), EpochMeans(), stop],
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=False,
    )
    trainer.strategy.checkpoint_io = CheckpointIO(folder)
    trainer.fit(module, batches)
    return stop.found


if __name__ == "__main__":
    main()
