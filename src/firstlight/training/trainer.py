"""firstlight.Trainer: Lightning's Trainer with defaults that suit small images."""

from __future__ import annotations

import inspect
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import pytorch_lightning as pl
from pytorch_lightning.accelerators import CUDAAccelerator, MPSAccelerator, XLAAccelerator
from pytorch_lightning.callbacks import BasePredictionWriter, LearningRateMonitor
from pytorch_lightning.utilities.exceptions import MisconfigurationException
from torch import nn

from firstlight.compiled import uncompiled
from firstlight.errors import UsageError
from firstlight.paths import DEFAULT_LOGS_DIR
from firstlight.training.callbacks.epoch_bar import EpochBar
from firstlight.training.callbacks.histograms import Histograms
from firstlight.training.callbacks.metrics_csv import MetricsTable
from firstlight.training.callbacks.misclassified import MisclassifiedImages
from firstlight.training.callbacks.pace import Pace
from firstlight.training.callbacks.plain_progress import PlainProgress
from firstlight.training.callbacks.run_folder import EXERCISE, RunFolder
from firstlight.training.callbacks.scalars_layout import ScalarsLayout
from firstlight.training.epochs import epochs_of, epochs_of_next_model
from firstlight.training.lightning_internals import starts_processes_at_each_call
from firstlight.training.loggers.graph_logger import GraphLogger
from firstlight.training.module import Classifier
from firstlight.training.notices import hide_foreign_notices_in_child, show_own_notices, without_foreign_notices
from firstlight.training.precision import default_precision, keep_freed_memory
from firstlight.training.print_metrics import print_metrics
from firstlight.training.signatures import accepts_arguments_of
from firstlight.training.trainer_arguments import check_arguments, check_monitored_metrics

# Options of a training that writes and prints nothing, for benchmarks.
SILENT: dict[str, Any] = {
    "logger": False,
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
}


class Trainer(pl.Trainer):
    """A `pytorch_lightning.Trainer` with defaults for small images, which any of its arguments overrides.

    The defaults:

    - the epochs of the model's recipe, and the precision that suits the device (`default_precision`);
    - TensorBoard in `logs/exercise/version_<n>` below `default_root_dir`, with the model graph, the hyperparameters
      and the learning rate;
    - that folder is also a run that `firstlight.load` and every command open: recipe, weights, predictions, results,
      figures. With `logger=False` or `fast_dev_run` nothing is written;
    - a progress bar on a terminal, plain lines in a notebook and elsewhere.

    Args:
        max_epochs: Epochs of the training; by default those of the model's recipe, and 24 for a module without one.
        histograms: Whether to write histograms of weights and gradients to TensorBoard, once an epoch.
        **options: Any argument of `pytorch_lightning.Trainer`, except `barebones=True`.

    Raises:
        UsageError: `barebones=True` would turn off what these defaults add; or an argument has a wrong type.
    """

    @accepts_arguments_of(pl.Trainer)
    def __init__(self, max_epochs: int | None = None, *, histograms: bool = False, **options: Any) -> None:
        if options.get("barebones"):
            raise UsageError(
                "barebones turns off the logging and the callbacks that firstlight's Trainer adds: measure with "
                "pytorch_lightning.Trainer(barebones=True)"
            )
        check_arguments(options | {"max_epochs": max_epochs})
        self._takes_epochs_of_model = max_epochs is None and not options.get("fast_dev_run")
        self._epochs_of_model: int | None = None  # of the model that `fit` met last
        for name in ("log_every_n_steps", "logger", "precision", "enable_progress_bar"):  # None: the default
            if options.get(name) is None:
                options.pop(name, None)
        options.setdefault("log_every_n_steps", 10)
        if options.get("logger") in (None, True) and not options.get("fast_dev_run"):
            options["logger"] = _tensorboard(options.get("default_root_dir"))
        is_logged = bool(options.get("logger")) and not options.get("fast_dev_run")
        device_type = _device_type(options.get("accelerator", "auto"))
        if device_type == "cpu":
            keep_freed_memory()
        if "precision" not in options and not options.get("plugins"):
            options["precision"] = default_precision(device_type)
        callbacks = options.get("callbacks") or []
        callbacks = list(callbacks) if isinstance(callbacks, list | tuple) else [callbacks]
        if is_logged:
            callbacks += _logging_callbacks(callbacks, histograms)
        if options.get("enable_progress_bar", True) and not _draws_progress(callbacks):
            callbacks += [EpochBar(), Pace()] if _can_redraw() else [PlainProgress()]
        if not _can_redraw():
            options["enable_progress_bar"] = any(isinstance(each, pl.callbacks.ProgressBar) for each in callbacks)
        show_own_notices()
        with without_foreign_notices():
            super().__init__(max_epochs=max_epochs, **(options | {"callbacks": callbacks}))

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore the trainer in a process that a strategy has spawned, and hide notices there, too."""
        self.__dict__.update(state)
        hide_foreign_notices_in_child()

    def fit(
        self,
        model: nn.Module,
        train_dataloaders: Any = None,
        val_dataloaders: Any = None,
        datamodule: pl.LightningDataModule | None = None,
        ckpt_path: str | Path | None = None,
        weights_only: bool | None = None,
    ) -> None:
        """Train a model, compiled or not; without `max_epochs`, for the epochs of its recipe.

        See `pytorch_lightning.Trainer.fit`.
        """
        check_monitored_metrics(self._callbacks, uncompiled(model))
        for callback in self._callbacks:
            if isinstance(callback, RunFolder):
                callback.check_disk(self, uncompiled(model))
        self._take_epochs(model)
        if ckpt_path is None:
            self._log_earlier_epochs()
        self._run_folder_for_workers(model)
        with without_foreign_notices():
            super().fit(model, train_dataloaders, val_dataloaders, datamodule, ckpt_path, weights_only)  # type: ignore[arg-type]
        self.enable_autolog_hparams = False  # graph and hyperparameters are logged once

    @property
    def max_epochs(self) -> int | None:
        """Largest number of epochs: the argument, or else the epochs of the model's recipe.

        Before `fit`, these are the epochs of the model that the trainer has tested, or else of the models that no
        trainer has met yet: None if these differ, and the exercise's 24 if there are none.
        """
        if self.fit_loop.max_epochs is not None or not self._takes_epochs_of_model:
            return self.fit_loop.max_epochs
        return epochs_of_next_model() if self.lightning_module is None else epochs_of(self.lightning_module)

    def _take_epochs(self, model: nn.Module) -> None:
        """Set the epochs to those of the model's recipe, unless the user set those of the trainer or its `fit_loop`."""
        if self._takes_epochs_of_model and self.fit_loop.max_epochs == self._epochs_of_model:
            self._epochs_of_model = epochs_of(model)
            self.fit_loop.max_epochs = self._epochs_of_model

    def _log_earlier_epochs(self) -> None:
        """Log a line if earlier calls of `fit` have used up epochs: Lightning counts them for any model."""
        last, num_done = self.fit_loop.max_epochs, self.current_epoch
        if num_done and last is not None and last > 0 and self.is_global_zero:
            num_left = max(last - num_done, 0)
            logging.getLogger("firstlight").info(
                f"this trainer has trained {num_done} of max_epochs={last} epochs, so it trains {num_left} "
                "now: make a new Trainer for another model, or set trainer.fit_loop.max_epochs to train for longer"
            )

    def validate(
        self,
        model: nn.Module | None = None,
        dataloaders: Any = None,
        ckpt_path: str | Path | None = None,
        verbose: bool = True,
        datamodule: pl.LightningDataModule | None = None,
        weights_only: bool | None = None,
    ) -> Any:
        """Validate a model and print its metrics, rounded. See `pytorch_lightning.Trainer.validate`."""
        evaluate, title = super().validate, "validation" if verbose else None
        return self._evaluate(evaluate, title, model, dataloaders, ckpt_path, False, datamodule, weights_only)

    def test(
        self,
        model: nn.Module | None = None,
        dataloaders: Any = None,
        ckpt_path: str | Path | None = None,
        verbose: bool = True,
        datamodule: pl.LightningDataModule | None = None,
        weights_only: bool | None = None,
    ) -> Any:
        """Test a model and print its metrics, rounded. See `pytorch_lightning.Trainer.test`."""
        evaluate, title = super().test, "test" if verbose else None
        tested = self.lightning_module if model is None else uncompiled(model)
        folder = self._run_folder_for_workers(tested)
        if folder is not None:
            folder.discard_predictions(cast(Classifier, tested))
        found = self._evaluate(evaluate, title, model, dataloaders, ckpt_path, False, datamodule, weights_only)
        if folder is not None:
            folder.load_predictions(cast(Classifier, tested))
        return found

    @property
    def _callbacks(self) -> list[pl.Callback]:
        return self.callbacks  # type: ignore[attr-defined]  # set by Lightning's connector

    def _run_folder_for_workers(self, model: nn.Module | None) -> RunFolder | None:
        """Choose the run folder in this process if the strategy starts new worker processes at each call.

        Otherwise the workers of a training and those of a test would choose different folders.

        Returns:
            The callback that writes the folder; None if this process starts no workers, or nothing is written.
        """
        if model is None or not starts_processes_at_each_call(self) or not isinstance(uncompiled(model), Classifier):
            return None
        for callback in self._callbacks:
            if isinstance(callback, RunFolder):
                if callback.path is None:
                    callback.choose_path(self)
                return callback
        return None

    def _evaluate(self, evaluate: Callable[..., Any], title: str | None, *arguments: Any) -> Any:
        """Run a validation or test of Lightning's that prints nothing, and print its metrics below a title."""
        with without_foreign_notices():
            found = evaluate(*arguments)
        if title and self.is_global_zero:
            print_metrics(found, title)
        return found

    def predict(
        self,
        model: nn.Module | None = None,
        dataloaders: Any = None,
        datamodule: pl.LightningDataModule | None = None,
        return_predictions: bool | None = None,
        ckpt_path: str | Path | None = None,
        weights_only: bool | None = None,
    ) -> Any:
        """Return the predictions of a model. See `pytorch_lightning.Trainer.predict`.

        Of several processes, each returns the predictions of its own share of the images.

        Raises:
            UsageError: The strategy starts processes that could not return their predictions.
        """
        has_writer = any(isinstance(each, BasePredictionWriter) for each in self._callbacks)
        if starts_processes_at_each_call(self) and (
            return_predictions or (return_predictions is None and not has_writer)
        ):
            raise UsageError(
                "the processes that this strategy starts cannot return their predictions: predict with "
                "Trainer(devices=1), or add a callback of the kind pytorch_lightning.callbacks.BasePredictionWriter"
            )
        if self.world_size > 1 and not has_writer and self.is_global_zero:
            logging.getLogger("firstlight").info(
                f"each of {self.world_size} processes returns the predictions of its own share of the images; "
                "Trainer(devices=1) returns all of them"
            )
        with without_foreign_notices():
            return super().predict(model, dataloaders, datamodule, return_predictions, ckpt_path, weights_only)  # type: ignore[arg-type]


def _logging_callbacks(given: list[Any], histograms: bool) -> list[pl.Callback]:
    """Return the callbacks that log, except those that `firstlight.fit` has already passed."""
    callbacks: list[pl.Callback] = [LearningRateMonitor(logging_interval="step"), ScalarsLayout()]
    if histograms:
        callbacks.append(Histograms())
    if not any(isinstance(each, RunFolder) for each in given):
        table, sheet = MetricsTable(), MisclassifiedImages()
        callbacks += [table, sheet, RunFolder(table, sheet)]
    return callbacks


def _tensorboard(root: Any) -> GraphLogger:
    """Return the default logger; its folders are `logs/exercise/version_<n>` below `default_root_dir`."""
    folder = Path(root or "") / DEFAULT_LOGS_DIR
    return GraphLogger(folder, name=EXERCISE, log_graph=True, default_hp_metric=False)


def lightning_options() -> list[str]:
    """Return the names of all arguments of Lightning's Trainer."""
    return [name for name in inspect.signature(pl.Trainer.__init__).parameters if name != "self"]


@contextmanager
def convert_trainer_errors() -> Iterator[None]:
    """Convert Lightning's error about an argument into a UsageError of one line."""
    try:
        yield
    except (MisconfigurationException, ValueError, TypeError, RuntimeError) as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise UsageError(f"Lightning's Trainer: {lines[0]}") from error


def _draws_progress(callbacks: list[Any]) -> bool:
    return any(isinstance(each, PlainProgress | pl.callbacks.ProgressBar) for each in callbacks)


def _can_redraw() -> bool:
    """Return whether standard error is a terminal, in which a progress bar can redraw itself; a notebook is none."""
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
