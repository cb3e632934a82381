"""The progress bar of a terminal: epochs from 1, and short names for the running metrics."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl

from firstlight.training.lightning_internals import OneBasedProgressBar


class EpochBar(OneBasedProgressBar):
    """Shows loss and accuracy of the last logged step and of the last validation; epoch means are only in the logs."""

    def get_metrics(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> dict[str, Any]:
        """Return the numbers beside the bar: `train_loss_step` becomes `loss`, and the version number is left out."""
        shown = super().get_metrics(trainer, pl_module)
        shown.pop("v_num", None)
        return {
            name.removeprefix("train_").removesuffix("_step"): value
            for name, value in shown.items()
            if not name.endswith("_epoch")
        }
