"""Write `metrics.csv`, with one row per epoch; the file is complete at any moment."""

from __future__ import annotations

import csv
import io
import time
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from firstlight.files import write_atomic

COLUMNS = ("epoch", "train_loss", "train_acc", "val_loss", "val_acc", "learning_rate", "seconds")


class MetricsTable(pl.Callback):
    """Writes the epoch, training and validation metrics, the learning rate and the seconds of each epoch to a CSV file.

    Args:
        path: Path of the file; None keeps the rows in memory only. A resumed training keeps its earlier rows.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        self.rows: list[dict[str, Any]] = []
        self._started_s = time.perf_counter()
        self._validation: dict[str, float] = {}

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the rows so far: none, or those up to the checkpoint from which the training continues."""
        if trainer.is_global_zero:
            self._write()

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start timing the epoch."""
        self._started_s = time.perf_counter()
        self._validation = {}

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Keep the metrics of this epoch, because Lightning's `callback_metrics` may be those of an earlier epoch."""
        logged = trainer.callback_metrics
        self._validation = {name: float(logged[name]) for name in ("val_loss", "val_acc") if name in logged}

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Add the row of the epoch; its validation, if any, comes before this hook."""
        logged = {name: float(value) for name, value in trainer.callback_metrics.items()}
        row: dict[str, Any] = {
            "epoch": trainer.current_epoch,
            "train_loss": logged.get("train_loss_epoch"),
            "train_acc": logged.get("train_acc_epoch"),
            "val_loss": self._validation.get("val_loss"),
            "val_acc": self._validation.get("val_acc"),
            "learning_rate": trainer.optimizers[0].param_groups[0]["lr"],
            "seconds": round(time.perf_counter() - self._started_s, 3),
        }
        self.rows.append({name: "" if value is None else value for name, value in row.items()})
        if trainer.is_global_zero:
            self._write()

    def _write(self) -> None:
        if self.path is None:
            return
        text = io.StringIO()
        writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        write_atomic(self.path, text.getvalue())

    def state_dict(self) -> dict[str, Any]:
        """Return the rows so far, and the validation and seconds of the current epoch, for a checkpoint."""
        return {
            "rows": self.rows,
            "validation": self._validation,
            "seconds": time.perf_counter() - self._started_s,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the rows and the current epoch of the run that was interrupted."""
        self.rows = list(state_dict["rows"])
        self._validation = dict(state_dict["validation"])
        self._started_s = time.perf_counter() - state_dict["seconds"]
