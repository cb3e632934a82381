"""Progress as plain lines, for logs and pipes, where a bar that redraws itself is noise."""

from __future__ import annotations

import math
import sys
import time
from typing import Any

import pytorch_lightning as pl

SECONDS_BETWEEN_LINES = 30.0


class PlainProgress(pl.Callback):
    """Prints a line at the end of each epoch, and every half minute within a long one, with the time left."""

    def __init__(self) -> None:
        self._fit_started_s = 0.0
        self._steps_at_start = 0
        self._last_line_s = 0.0
        self._validated = False

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock."""
        self._fit_started_s = self._last_line_s = time.perf_counter()
        self._steps_at_start = trainer.global_step

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Forget that an earlier epoch was validated."""
        self._validated = False

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Remember that this epoch has been validated: Lightning keeps an earlier epoch's numbers, too."""
        self._validated = True

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Print a line if the last one is long ago."""
        if time.perf_counter() - self._last_line_s >= SECONDS_BETWEEN_LINES:
            self._print(trainer, f"step {batch_idx + 1}/{trainer.num_training_batches}", ("train_loss_step",))

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Print the epoch's line."""
        validation = ("val_loss", "val_acc") if self._validated else ()
        self._print(trainer, "done", ("train_loss_epoch", "train_acc_epoch", *validation))

    def _print(self, trainer: pl.Trainer, where: str, names: tuple[str, ...]) -> None:
        if not trainer.is_global_zero:
            return
        self._last_line_s = time.perf_counter()
        logged = trainer.callback_metrics
        epoch = f"epoch {trainer.current_epoch + 1}"
        if trainer.max_epochs and trainer.max_epochs > 0:  # -1: until something else stops the training
            epoch += f"/{trainer.max_epochs}"
        numbers = [f"{name} {float(logged[name]):.4f}" for name in names if name in logged]
        left_s = self._seconds_left(trainer)
        left = [f"{duration(left_s)} left"] if math.isfinite(left_s) else []
        print("  ".join([epoch, where, *numbers, *left]), file=sys.stderr, flush=True)

    def _seconds_left(self, trainer: pl.Trainer) -> float:
        done = trainer.global_step - self._steps_at_start
        left = float(trainer.estimated_stepping_batches) - trainer.global_step
        return (time.perf_counter() - self._fit_started_s) / max(1, done) * max(0.0, left)


def duration(seconds: float) -> str:
    """Return a length of time as a person would say it.

    >>> duration(7.4), duration(75.0), duration(7380.0)
    ('7 s', '1 min 15 s', '2 h 3 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
