"""Checks of arguments that Lightning's Trainer accepts at first and fails on later, or ignores."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from numbers import Integral
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import EarlyStopping
from pytorch_lightning.loggers import Logger
from torch import nn

from firstlight.errors import UsageError
from firstlight.training.module import Classifier

INTEGERS = (
    *("max_epochs", "min_epochs", "max_steps", "min_steps", "num_nodes", "log_every_n_steps"),
    *("check_val_every_n_epoch", "num_sanity_val_steps", "accumulate_grad_batches"),
    "reload_dataloaders_every_n_epochs",
)
TRAIN_METRICS = ("train_loss", "train_acc")
EVALUATION_METRICS = ("val_loss", "val_acc", "test_loss", "test_acc", "test_acc_tta")


def check_arguments(options: Mapping[str, Any]) -> None:
    """Raise UsageError if an argument of the Trainer has a wrong type.

    Args:
        options: Arguments of `firstlight.Trainer`; those that are None have their default.
    """
    for name in INTEGERS:
        value = options.get(name)
        if value is not None and (isinstance(value, bool) or not isinstance(value, Integral)):
            raise UsageError(f"Trainer: {name} must be an integer, not {value!r}")
    for callback in _each(options.get("callbacks")):
        if not isinstance(callback, pl.Callback):
            raise UsageError(f"Trainer: callbacks must be Callback objects, not {callback!r}{_hint(callback)}")
    for logger in _each(options.get("logger")):
        if not isinstance(logger, Logger | bool):
            raise UsageError(f"Trainer: logger must be True, False or Logger objects, not {logger!r}{_hint(logger)}")


def check_monitored_metrics(callbacks: Iterable[pl.Callback], module: nn.Module) -> None:
    """Raise UsageError if an EarlyStopping monitors a metric that firstlight's modules do not log.

    Lightning finds it after the first epoch. A subclass may log other metrics, so its callbacks are not checked.
    """
    if not isinstance(module, Classifier) or not type(module).__module__.startswith("firstlight."):
        return
    known = [*TRAIN_METRICS, *(f"{name}_{kind}" for name in TRAIN_METRICS for kind in ("step", "epoch"))]
    known += EVALUATION_METRICS
    for callback in callbacks:
        if not isinstance(callback, EarlyStopping) or not callback.strict:
            continue
        name = callback.monitor.partition("/")[0]  # several loaders: val_loss/dataloader_idx_1
        if name not in known and "dataloader" not in callback.monitor:
            similar = get_close_matches(callback.monitor, known, n=1)
            hint = f"did you mean {similar[0]}?" if similar else f"the metrics are {', '.join(known)}"
            raise UsageError(f"EarlyStopping monitors {callback.monitor!r}, which is not logged: {hint}")


def _each(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, list | tuple) else [value]


def _hint(value: Any) -> str:
    """Return the advice for a class that was passed in place of an object."""
    return f": create an object, as in {value.__name__}(...)" if isinstance(value, type) else ""
