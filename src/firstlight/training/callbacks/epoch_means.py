"""The means of an epoch (`train_loss_epoch`, `train_acc_epoch`) go on from a checkpoint, and are over all processes."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor


class EpochMeans(pl.Callback):
    """Does for the sums behind Lightning's epoch means what Lightning does not.

    They are kept in its checkpoints, and added up over the processes once, at the end of the epoch. Covers what is
    logged as a number with `on_epoch=True` in `training_step`.
    """

    def __init__(self) -> None:
        self._earlier: dict[str, dict[str, Tensor]] = {}

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Add the sums of the epoch's steps so far, one for each process."""
        checkpoint["epoch_means"] = {
            key: {"value": _of_all(trainer, each.value), "weight": _of_all(trainer, each.cumulated_batch_size)}
            for key, each in _running(trainer).items()
        }

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Take this process's sums out; they are added to those of its first step."""
        mine = slice(trainer.global_rank, None, trainer.world_size)
        means = checkpoint.get("epoch_means", {})
        self._earlier = {key: {name: sums[mine].sum() for name, sums in each.items()} for key, each in means.items()}

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Add the earlier sums once: Lightning has just begun new ones. The order of two terms changes no bit."""
        running = _running(trainer) if self._earlier else {}
        for key, earlier in self._earlier.items():
            if key in running:
                mean = running[key]
                mean.value = mean.value + earlier["value"].to(mean.value.device)
                mean.cumulated_batch_size = mean.cumulated_batch_size + earlier["weight"].to(mean.value.device)
        self._earlier = {}

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Add the processes' sums up, before anybody asks for the means."""
        if trainer.world_size == 1:
            return
        for each in _running(trainer).values():
            each.value = trainer.strategy.reduce(each.value, reduce_op="sum")
            each.cumulated_batch_size = trainer.strategy.reduce(each.cumulated_batch_size, reduce_op="sum")
            each._computed = None


def _of_all(trainer: pl.Trainer, value: Tensor) -> Tensor:
    """Return the value of every process, float or int [processes]."""
    values = [torch.empty_like(value) for _ in range(trainer.world_size)]
    if trainer.world_size > 1:
        torch.distributed.all_gather(values, value)
    else:
        values[0].copy_(value)
    return torch.stack(values)


def _running(trainer: pl.Trainer) -> dict[str, Any]:
    results = trainer.fit_loop.epoch_loop._results
    return {
        key: each
        for key, each in results.items()
        if each.is_tensor and each.meta.is_mean_reduction and each.meta.on_epoch and not each.has_reset
    }
