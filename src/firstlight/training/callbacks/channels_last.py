"""The memory format of the filters: channels_last while they are trained, contiguous before and after."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelPruning
from torch import nn


class ChannelsLast(pl.Callback):
    """Keeps filters in channels_last memory format during a training, so that the convolutions need not copy them.

    Outside of a training filters are contiguous, since PyTorch's pruning and safetensors refuse other formats. With
    Lightning's `ModelPruning` they are contiguous during the training, too.
    """

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Convert the filters when a training starts."""
        if stage == "fit":
            is_pruning = any(isinstance(callback, ModelPruning) for callback in _callbacks(trainer))
            _convert(pl_module, torch.contiguous_format if is_pruning else torch.channels_last)

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Convert the filters back when a training ends."""
        if stage == "fit":
            _convert(pl_module, torch.contiguous_format)

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Convert the filters back when a training fails."""
        _convert(pl_module, torch.contiguous_format)


def _callbacks(trainer: pl.Trainer) -> list[Any]:
    return list(getattr(trainer, "callbacks", []))


def _convert(module: nn.Module, memory_format: torch.memory_format) -> None:
    for parameter in module.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=memory_format)
