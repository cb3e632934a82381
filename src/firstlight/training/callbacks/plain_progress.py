"""Print progress as plain lines, for logs, pipes and notebooks, where a progress bar cannot redraw itself."""

from __future__ import annotations

import math
import sys
import time
from typing import Any

import pytorch_lightning as pl

from firstlight.durations import duration
from firstlight.training.callbacks.pace import Pace

SECONDS_BETWEEN_LINES = 30.0


class PlainProgress(Pace):
    """Prints a line at the end of each epoch, and every 30 seconds within a long epoch, with the time left."""

    def __init__(self) -> None:
        super().__init__()
        self._last_line_s = 0.0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start timing."""
        super().on_train_start(trainer, pl_module)
        self._last_line_s = time.perf_counter()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Print a line if the last one is 30 seconds old."""
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
        if time.perf_counter() - self._last_line_s >= SECONDS_BETWEEN_LINES:
            self._print(trainer, f"step {batch_idx + 1}/{trainer.num_training_batches}", ("train_loss_step",))

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Print the line of the epoch, without the metrics of an earlier validation, which Lightning keeps."""
        validation = ("val_loss", "val_acc") if self.is_validated else ()
        self._print(trainer, "done", ("train_loss_epoch", "train_acc_epoch", *validation))

    def _print(self, trainer: pl.Trainer, where: str, names: tuple[str, ...]) -> None:
        if not trainer.is_global_zero:
            return
        self._last_line_s = time.perf_counter()
        logged = trainer.callback_metrics
        epoch = f"epoch {trainer.current_epoch + 1}"
        if trainer.max_epochs and trainer.max_epochs > 0:  # -1 means no limit
            epoch += f"/{trainer.max_epochs}"
        numbers = [f"{name} {float(logged[name]):.4f}" for name in names if name in logged]
        left_s = self.seconds_left(trainer)
        left = [f"{duration(left_s)} left"] if math.isfinite(left_s) else []
        print("  ".join([epoch, where, *numbers, *left]), file=sys.stderr, flush=True)
