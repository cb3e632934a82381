"""firstlight.Trainer: Lightning's Trainer with defaults that suit small images."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.accelerators import CUDAAccelerator, MPSAccelerator, XLAAccelerator
from pytorch_lightning.callbacks import LearningRateMonitor, RichProgressBar
from pytorch_lightning.loggers import TensorBoardLogger
from pytorch_lightning.utilities.exceptions import MisconfigurationException
from torch import nn

from firstlight.errors import UsageError
from firstlight.paths import DEFAULT_LOGS_DIR
from firstlight.recipes.config import Recipe
from firstlight.training.callbacks.metrics_table import MetricsTable
from firstlight.training.callbacks.misclassified import MisclassifiedImages
from firstlight.training.callbacks.pace import Pace
from firstlight.training.callbacks.plain_progress import PlainProgress
from firstlight.training.callbacks.run_folder import EXERCISE, RunFolder
from firstlight.training.precision import default_precision, keep_freed_memory
from firstlight.training.signatures import accepts_arguments_of

# Options of a training that leaves and says nothing: for measurements.
SILENT: dict[str, Any] = {
    "logger": False,
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
}


class Trainer(pl.Trainer):
    """A `pytorch_lightning.Trainer` with our defaults; every argument of Lightning's works and wins.

    The defaults: the epochs of the model's recipe; the precision that suits the device (`default_precision`);
    TensorBoard under `logs/`, with the learning rate, and misclassified images after a test; a rich progress bar on a
    terminal, plain lines in a notebook and elsewhere.

    Args:
        max_epochs: Epochs of the training; by default those of the model's recipe.
        **options: any argument of `pytorch_lightning.Trainer`.
    """

    @accepts_arguments_of(pl.Trainer)
    def __init__(self, max_epochs: int | None = None, **options: Any) -> None:
        self._takes_epochs_of_model = max_epochs is None
        if self._takes_epochs_of_model:
            max_epochs = Recipe().max_epochs
        for name in ("log_every_n_steps", "logger", "precision", "enable_progress_bar"):  # None: the default
            if options.get(name) is None:
                options.pop(name, None)
        options.setdefault("log_every_n_steps", 10)
        if options.get("logger") in (None, True) and not options.get("fast_dev_run"):
            options["logger"] = _tensorboard(options.get("default_root_dir"))
        device_type = _device_type(options.get("accelerator", "auto"))
        if device_type == "cpu":
            keep_freed_memory()
        if "precision" not in options and not options.get("plugins"):
            options["precision"] = default_precision(device_type)
        callbacks = options.get("callbacks") or []
        callbacks = list(callbacks) if isinstance(callbacks, list | tuple) else [callbacks]
        if options.get("logger") and not options.get("fast_dev_run"):
            callbacks.append(LearningRateMonitor(logging_interval="step"))
            if not any(isinstance(each, RunFolder) for each in callbacks):
                table, sheet = MetricsTable(), MisclassifiedImages()
                callbacks += [table, sheet, RunFolder(table, sheet)]
        if options.get("enable_progress_bar", True) and not _draws_progress(callbacks):
            callbacks += [RichProgressBar(), Pace()] if _can_redraw() else [PlainProgress()]
        if not _can_redraw():
            options["enable_progress_bar"] = any(isinstance(each, pl.callbacks.ProgressBar) for each in callbacks)
        super().__init__(max_epochs=max_epochs, **(options | {"callbacks": callbacks}))

    def fit(self, model: nn.Module, *args: Any, **kwargs: Any) -> None:
        """Train a LightningModule, compiled or not; without `max_epochs`, for the epochs of its recipe."""
        recipe = getattr(model, "recipe", None)
        if self._takes_epochs_of_model and isinstance(recipe, Recipe):
            self.fit_loop.max_epochs = recipe.max_epochs
        super().fit(model, *args, **kwargs)  # type: ignore[arg-type]  # Lightning takes compiled modules, too


def _tensorboard(root: Any) -> TensorBoardLogger:
    """Return the default logger; its folders are `logs/exercise/version_<n>` below `default_root_dir`."""
    folder = Path(root or "") / DEFAULT_LOGS_DIR
    return TensorBoardLogger(folder, name=EXERCISE, log_graph=True, default_hp_metric=False)


def lightning_options() -> list[str]:
    """Return the names of all arguments of Lightning's Trainer."""
    return [name for name in inspect.signature(pl.Trainer.__init__).parameters if name != "self"]


@contextmanager
def refusals_in_one_line() -> Iterator[None]:
    """Turn what Lightning says of arguments that it does not accept into a UsageError."""
    try:
        yield
    except (MisconfigurationException, ValueError, TypeError, RuntimeError) as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise UsageError(f"Lightning's Trainer: {lines[0]}") from error


def _draws_progress(callbacks: list[Any]) -> bool:
    return any(isinstance(each, PlainProgress | pl.callbacks.ProgressBar) for each in callbacks)


def _can_redraw() -> bool:
    """A bar that redraws itself needs a terminal; in a notebook it would need widgets, and lines read well there."""
    return sys.stderr.isatty()


def _device_type(accelerator: Any) -> str:
    """Return the type of device that Lightning chooses: "cpu", "cuda", "mps", "tpu" or another."""
    if accelerator not in ("auto", "gpu", None):
        return str(accelerator)
    if accelerator != "gpu" and XLAAccelerator.is_available():
        return "tpu"
    if MPSAccelerator.is_available():
        return "mps"
    return "cuda" if accelerator == "gpu" or CUDAAccelerator.is_available() else "cpu"
