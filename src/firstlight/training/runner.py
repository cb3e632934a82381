"""Train, test and save, from the start or from a checkpoint: what `fit` and `resume` share."""

from __future__ import annotations

import errno
import logging
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.utilities.exceptions import MisconfigurationException

from firstlight.errors import StoppedError, TrainingError, WriteError
from firstlight.runs.checkpoints import Checkpoint, CheckpointFolder
from firstlight.runs.options import FitOptions
from firstlight.runs.run import Run
from firstlight.training.callbacks.checkpointing import Checkpointing, CheckpointTimes
from firstlight.training.callbacks.epoch_means import EpochMeans
from firstlight.training.callbacks.finite_loss import FiniteLoss
from firstlight.training.callbacks.histograms import Histograms
from firstlight.training.callbacks.metrics_table import MetricsTable
from firstlight.training.callbacks.misclassified import MisclassifiedImages
from firstlight.training.callbacks.run_folder import RunFolder
from firstlight.training.callbacks.stop_signals import StopSignals, resume_command
from firstlight.training.checkpoint_io import CheckpointIO
from firstlight.training.data_module import ImageData
from firstlight.training.lightning_internals import kill_workers
from firstlight.training.loggers.csv_rows import give_back, rows_before
from firstlight.training.loggers.factory import make_logger
from firstlight.training.module import Classifier
from firstlight.training.processes import is_first_process
from firstlight.training.trainer import Trainer, refusals_in_one_line
from firstlight.training.training_clock import TrainingClock

DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO)


def train_and_test(
    folder: Path,
    module: Classifier,
    data: ImageData,
    options: FitOptions,
    trainer_options: dict[str, Any],
    times: CheckpointTimes,
    checkpoint: Checkpoint | None,
    started_s: float,
) -> Run:
    """Train, test and save, and leave the finished run.

    Args:
        folder: of the run; on all processes but the first only a name.
        module: as the recipe makes it.
        data: with the training images loaded.
        options: logger, histograms, and how steps are made.
        trainer_options: arguments of Lightning's Trainer.
        times: how often checkpoints are written.
        checkpoint: where to go on; None begins.
        started_s: when this process began, on the clock of `time.perf_counter`.

    Raises:
        StoppedError: SIGINT or SIGTERM came; the run can be resumed.
        TrainingError: the loss is no longer a finite number, or the folder cannot be written.
        UsageError: Lightning's Trainer does not accept its arguments.
    """
    with StopSignals(folder) as stop, _one_line_errors(folder):
        clock = TrainingClock(started_s)
        checkpoints = CheckpointFolder(folder / "checkpoints")
        checkpointing = Checkpointing(checkpoints, folder, module.recipe, times, stop, clock)
        table, sheet = MetricsTable(), MisclassifiedImages()
        run_folder = RunFolder(table, sheet, folder, clock)
        writers = [table, sheet, run_folder]
        trainer = _make_trainer(folder, module, options, trainer_options, checkpointing, writers, checkpoint)
        _announce(trainer, module, data, folder)
        with _workers_killed_on_stop(trainer):
            trainer.fit(module, datamodule=data, ckpt_path=checkpoint.path if checkpoint else None, weights_only=True)
        trainer.enable_autolog_hparams = False
        tested = trainer.test(module, datamodule=data, verbose=False)
        run = Run(trainer.strategy.broadcast(folder))
        if not tested:  # Lightning skips a test of no batches
            run_folder.finish(trainer, module, run, data, {})
        if trainer.is_global_zero:
            shutil.rmtree(run.checkpoints.path, ignore_errors=True)
        trainer.strategy.barrier()
        return run


def _make_trainer(
    folder: Path,
    module: Classifier,
    options: FitOptions,
    trainer_options: dict[str, Any],
    checkpointing: Checkpointing,
    writers: list[pl.Callback],
    checkpoint: Checkpoint | None,
) -> pl.Trainer:
    user_callbacks = trainer_options.get("callbacks") or []
    user_callbacks = list(user_callbacks) if isinstance(user_callbacks, list | tuple) else [user_callbacks]
    callbacks = [
        checkpointing,  # first: see there
        checkpointing.stop,
        FiniteLoss(checkpointing.folder),
        EpochMeans(),
        *writers,
        *([Histograms()] if options.histograms else []),
        *user_callbacks,
    ]
    place = folder.absolute()
    rows = rows_before(folder, checkpoint.step) if checkpoint else []
    logger = make_logger(options.logger, place.parent.parent, place.parent.name, place.name)
    if is_first_process():
        give_back(logger, rows)
    with refusals_in_one_line():
        trainer = Trainer(
            max_epochs=module.recipe.max_epochs,
            callbacks=callbacks,
            **(
                # The graph and the hyperparameters are logged once: a run that goes on has them.
                {"enable_model_summary": False, "enable_autolog_hparams": checkpoint is None, "logger": logger or False}
                | {"enable_checkpointing": any(isinstance(c, pl.callbacks.Checkpoint) for c in user_callbacks)}
                | {name: value for name, value in trainer_options.items() if name != "callbacks"}
            ),
        )
    trainer.strategy.checkpoint_io = CheckpointIO(checkpointing.folder)
    return trainer


@contextmanager
def _workers_killed_on_stop(trainer: pl.Trainer) -> Iterator[None]:
    """Kill Lightning's worker processes if this process is stopped."""
    try:
        yield
    except StoppedError:
        kill_workers(trainer)
        raise


@contextmanager
def _one_line_errors(folder: Path) -> Iterator[None]:
    """Turn what a user can mend into one line: a disk that is full or read-only, limits that leave no batch."""
    hook = threading.excepthook
    threading.excepthook = lambda args: None if _is_of_the_disk(args.exc_value) else hook(args)
    try:
        yield
    except WriteError as error:
        raise TrainingError(f"{str(error).rstrip('.')}. Then go on with: {resume_command(folder)}") from error
    except OSError as error:
        if not _is_of_the_disk(error):
            raise
        raise TrainingError(
            f"cannot write to {folder}: {error.strerror}. Free space, then go on with: {resume_command(folder)}"
        ) from error
    except MisconfigurationException as error:
        with refusals_in_one_line():
            raise error
    finally:
        threading.excepthook = hook


def _is_of_the_disk(error: BaseException | None) -> bool:
    """TensorBoard's writer fails in a thread of its own first, and then in ours, too."""
    return isinstance(error, OSError) and error.errno in DISK


def _announce(trainer: pl.Trainer, module: Classifier, data: ImageData, folder: Path) -> None:
    """Say in one line what is about to happen."""
    if trainer.is_global_zero:
        num_parameters = sum(each.numel() for each in module.network.parameters())
        device = f"{trainer.world_size} x {trainer.strategy.root_device.type}"
        logging.getLogger("firstlight").info(
            f"{type(module.network).__name__} with {num_parameters:,} parameters on {data.train.name}: "
            f"{len(data.train):,} images to train, {len(data.val):,} to validate; "
            f"{trainer.precision} on {device}; run folder {folder}"
        )
        if module.steps == "compiled" and trainer.strategy.root_device.type != "cuda":
            logging.getLogger("firstlight").warning("warning: steps are compiled on a GPU only; here they are plain")
