"""Log the mean of a metric over each of a module's validation or test loaders."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import pytorch_lightning as pl
from torch import Tensor, nn
from torch.nn import functional as F
from torchmetrics.aggregation import MeanMetric

from firstlight.training.lightning_internals import attached_trainer


def log_loss_and_accuracy(
    module: pl.LightningModule, split: str, logits: Tensor, labels: Tensor, dataloader_idx: int
) -> None:
    """Log the mean cross-entropy and accuracy as `<split>_loss` and `<split>_acc`.

    Args:
        module: Module that logs; it keeps its metrics in `module.metrics`.
        split: "val" or "test".
        logits: Logits of a batch, float [n k].
        labels: Labels, int64 [n].
        dataloader_idx: Index of the loader that the batch comes from.
    """
    log_mean(module, f"{split}_loss", F.cross_entropy(logits, labels, reduction="none"), dataloader_idx)
    log_mean(module, f"{split}_acc", (logits.argmax(dim=1) == labels).float(), dataloader_idx)


def log_mean(
    module: pl.LightningModule, name: str, values: Tensor, dataloader_idx: int, *, prog_bar: bool = True
) -> None:
    """Log the mean of values, float [n], over an epoch, separately for each of several loaders."""
    key = name if dataloader_idx == 0 else f"{name}_{dataloader_idx}"
    metrics = cast(nn.ModuleDict, module.metrics)
    if key not in metrics:
        metrics[key] = MeanMetric().to(module.device)
    mean = cast(MeanMetric, metrics[key])
    mean.update(values)
    trainer = attached_trainer(module)
    if trainer is None:  # a step that is called by hand
        return
    loaders: Any = trainer.val_dataloaders if name.startswith("val") else trainer.test_dataloaders
    is_named = isinstance(loaders, Mapping) and len(loaders) > 1
    module.log(
        f"{name}/{list(loaders)[dataloader_idx]}" if is_named else name,
        mean,
        on_epoch=True,
        prog_bar=prog_bar,
        batch_size=len(values),
        add_dataloader_idx=not is_named,
        metric_attribute=f"metrics.{key}",
    )
