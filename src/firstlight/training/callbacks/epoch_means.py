"""The means of an epoch (`train_loss_epoch`, `train_acc_epoch`) go on from a checkpoint, and are over all processes."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from firstlight.training.loggers.running_means import RunningMeans


class EpochMeans(pl.Callback):
    """Does for the sums behind Lightning's epoch means what Lightning does not.

    They are kept in its checkpoints, and added up over the processes once, at the end of the epoch. Covers what is
    logged as a number with `on_epoch=True` in `training_step`, and what a module keeps in `unlogged` until it logs it.
    """

    def __init__(self) -> None:
        self._earlier: dict[str, dict[str, Tensor]] = {}

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Add the sums of the epoch's steps so far, one for each process."""
        running = {
            key: {"value": each.value, "weight": each.cumulated_batch_size} for key, each in _running(trainer).items()
        }
        checkpoint["epoch_means"] = {
            key: {name: _of_all(trainer, value) for name, value in sums.items()}
            for key, sums in (self._earlier | running).items()
        }
        unlogged = _unlogged(pl_module).state()
        checkpoint["unlogged"] = {name: _of_all(trainer, value) for name, value in unlogged.items()}

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Take this process's sums out; they are added to those of its first step."""
        mine = slice(trainer.global_rank, None, trainer.world_size)
        means = checkpoint.get("epoch_means", {})
        self._earlier = {key: {name: sums[mine].sum() for name, sums in each.items()} for key, each in means.items()}
        unlogged = checkpoint.get("unlogged", {})
        _unlogged(pl_module).load_state({name: sums[mine].sum() for name, sums in unlogged.items()})

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Add the earlier sums once, when Lightning has begun new ones. The order of two terms changes no bit."""
        running = _running(trainer) if self._earlier else {}
        for key in self._earlier.keys() & running.keys():
            mean, earlier = running[key], self._earlier.pop(key)
            mean.value = mean.value + earlier["value"].to(mean.value.device)
            mean.cumulated_batch_size = mean.cumulated_batch_size + earlier["weight"].to(mean.value.device)

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


def _unlogged(pl_module: pl.LightningModule) -> RunningMeans:
    return getattr(pl_module, "unlogged", RunningMeans())


def _running(trainer: pl.Trainer) -> dict[str, Any]:
    results = trainer.fit_loop.epoch_loop._results
    return {
        key: each
        for key, each in results.items()
        if each.is_tensor and each.meta.is_mean_reduction and each.meta.on_epoch and not each.has_reset
    }
