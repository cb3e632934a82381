"""Print progress as plain lines, for logs, pipes and notebooks, where a progress bar cannot redraw itself."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Mapping
from typing import Any

import pytorch_lightning as pl

from firstlight.durations import duration
from firstlight.training.callbacks.pace import Pace
from firstlight.training.module import Classifier

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
            # Lightning's own number may be that of a much earlier step, since not every step is logged.
            unlogged = pl_module.unlogged_means.peek() if isinstance(pl_module, Classifier) else {}
            newest = {"train_loss_step": unlogged["train_loss"]} if "train_loss" in unlogged else {}
            where = f"step {batch_idx + 1}/{trainer.num_training_batches}"
            self._print(trainer, where, ("train_loss_step",), trainer.callback_metrics | newest)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Print the line of the epoch, without the metrics of an earlier validation, which Lightning keeps."""
        validation = ("val_loss", "val_acc") if self.is_validated else ()
        names = ("train_loss_epoch", "train_acc_epoch", *validation)
        self._print(trainer, "done", names, trainer.callback_metrics)

    def _print(self, trainer: pl.Trainer, where: str, names: tuple[str, ...], logged: Mapping[str, Any]) -> None:
        if not trainer.is_global_zero:
            return
        self._last_line_s = time.perf_counter()
        epoch = f"epoch {trainer.current_epoch + 1}"
        if trainer.max_epochs and trainer.max_epochs > 0:  # -1 means no limit
            epoch += f"/{trainer.max_epochs}"
        numbers = [f"{name} {float(logged[name]):.4f}" for name in names if name in logged]
        left_s = self.seconds_left(trainer)
        left = [f"{duration(left_s)} left"] if math.isfinite(left_s) else []
        print("  ".join([epoch, where, *numbers, *left]), file=sys.stderr, flush=True)
