"""The running means of an epoch (`train_loss_epoch`, `train_acc_epoch`) go on where a checkpoint was written."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
from torch import Tensor


class EpochMeans(pl.Callback):
    """Keeps the sums behind Lightning's epoch means in its checkpoints, which Lightning itself does not.

    Covers what is logged as a number with `on_epoch=True` in `training_step`.
    """

    def __init__(self) -> None:
        self._earlier: dict[str, dict[str, Tensor]] = {}

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Add the sums of the epoch's steps so far."""
        checkpoint["epoch_means"] = {
            key: {"value": each.value.detach().clone(), "weight": each.cumulated_batch_size.clone()}
            for key, each in _running(trainer).items()
        }

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Take them out; they are added to those of the first step."""
        self._earlier = checkpoint.get("epoch_means", {})

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Add the earlier sums once: Lightning has just begun new ones. The order of two terms changes no bit."""
        if not self._earlier:
            return
        running = _running(trainer)
        for key, earlier in self._earlier.items():
            if key in running:
                mean = running[key]
                mean.value = mean.value + earlier["value"].to(mean.value.device)
                mean.cumulated_batch_size = mean.cumulated_batch_size + earlier["weight"].to(mean.value.device)
        self._earlier = {}


def _running(trainer: pl.Trainer) -> dict[str, Any]:
    results = trainer.fit_loop.epoch_loop._results
    return {
        key: each
        for key, each in results.items()
        if each.is_tensor and each.meta.is_mean_reduction and each.meta.on_epoch and not each.has_reset
    }
