"""Keep the epoch means `train_loss_epoch` and `train_acc_epoch` across checkpoints and processes."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from firstlight.training.lightning_internals import clear_computed, epoch_means
from firstlight.training.loggers.running_means import RunningMeans


class EpochMeans(pl.Callback):
    """Saves the sums behind Lightning's epoch means in checkpoints, and adds them up over all processes.

    Lightning does neither by default. The sums of the processes are added once, at the end of an epoch. This covers the
    values that `training_step` logs with `on_epoch=True` and those that the module keeps in `unlogged_means`.
    """

    def __init__(self) -> None:
        self._earlier: dict[str, dict[str, Tensor]] = {}

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Save the sums of the epoch's steps so far, one sum per process."""
        running = {
            name: {"value": mean.value, "weight": mean.cumulated_batch_size}
            for name, mean in epoch_means(trainer).items()
        }
        checkpoint["epoch_means"] = {
            key: {name: _gathered(trainer, value) for name, value in sums.items()}
            for key, sums in (self._earlier | running).items()
        }
        unlogged = _unlogged_means(pl_module).state()
        checkpoint["unlogged"] = {name: _gathered(trainer, value) for name, value in unlogged.items()}

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Load the sums of this process; `on_train_batch_end` adds them to the sums after the first step."""
        mine = slice(trainer.global_rank, None, trainer.world_size)
        means = checkpoint.get("epoch_means", {})
        self._earlier = {
            key: {name: values[mine].sum() for name, values in sums.items()} for key, sums in means.items()
        }
        unlogged = checkpoint.get("unlogged", {})
        _unlogged_means(pl_module).load_state({name: sums[mine].sum() for name, sums in unlogged.items()})

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Add the loaded sums after the first step; the order of the two terms does not change the result."""
        running = epoch_means(trainer) if self._earlier else {}
        for key in self._earlier.keys() & running.keys():
            mean, earlier = running[key], self._earlier.pop(key)
            mean.value = mean.value + earlier["value"].to(mean.value.device)
            mean.cumulated_batch_size = mean.cumulated_batch_size + earlier["weight"].to(mean.value.device)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Add up the sums of all processes before the means are computed."""
        if trainer.world_size == 1:
            return
        for mean in epoch_means(trainer).values():
            mean.value = trainer.strategy.reduce(mean.value, reduce_op="sum")
            mean.cumulated_batch_size = trainer.strategy.reduce(mean.cumulated_batch_size, reduce_op="sum")
            clear_computed(mean)


def _gathered(trainer: pl.Trainer, value: Tensor) -> Tensor:
    """Return the value of every process, [num_processes]."""
    values = [torch.empty_like(value) for _ in range(trainer.world_size)]
    if trainer.world_size > 1:
        torch.distributed.all_gather(values, value)
    else:
        values[0].copy_(value)
    return torch.stack(values)


def _unlogged_means(pl_module: pl.LightningModule) -> RunningMeans:
    return getattr(pl_module, "unlogged_means", RunningMeans())
