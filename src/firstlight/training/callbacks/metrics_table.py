"""`metrics.csv`: one row an epoch, whole at any moment."""

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
    """Writes epoch, train and val numbers, the learning rate and the epoch's seconds to a CSV file.

    Args:
        path: of the file; rows of an earlier part of the same training are kept.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: list[dict[str, Any]] = []
        self._started_s = 0.0
        self._validated = False

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the epoch's clock."""
        self._started_s = time.perf_counter()
        self._validated = False

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Remember that this epoch has been validated: Lightning keeps an earlier epoch's numbers, too."""
        self._validated = True

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Add the epoch's row; validation, if any, has been done by now."""
        logged = {name: float(value) for name, value in trainer.callback_metrics.items()}
        row: dict[str, Any] = {
            "epoch": trainer.current_epoch,
            "train_loss": logged.get("train_loss_epoch"),
            "train_acc": logged.get("train_acc_epoch"),
            "val_loss": logged.get("val_loss") if self._validated else None,
            "val_acc": logged.get("val_acc") if self._validated else None,
            "learning_rate": trainer.optimizers[0].param_groups[0]["lr"],
            "seconds": round(time.perf_counter() - self._started_s, 3),
        }
        self.rows.append({name: "" if value is None else value for name, value in row.items()})
        if trainer.is_global_zero:
            self._write()

    def _write(self) -> None:
        text = io.StringIO()
        writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        write_atomic(self.path, text.getvalue())

    def state_dict(self) -> dict[str, Any]:
        """The rows so far, for a run that is resumed."""
        return {"rows": self.rows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on below the rows of the run that was stopped."""
        self.rows = list(state_dict["rows"])
