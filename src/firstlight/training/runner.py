"""Train, test and save a run, from the start or from a checkpoint: the code that `fit` and `resume` share."""

from __future__ import annotations

import errno
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.utilities.exceptions import MisconfigurationException

from firstlight.errors import FirstlightError, RunError, StoppedError, TrainingError, UsageError, WriteError
from firstlight.runs.checkpoints import Checkpoint, CheckpointFolder
from firstlight.runs.options import FitOptions
from firstlight.runs.run import Run
from firstlight.training.callbacks.checkpointing import Checkpointing, CheckpointTimes
from firstlight.training.callbacks.epoch_means import EpochMeans
from firstlight.training.callbacks.finite_loss import FiniteLoss
from firstlight.training.callbacks.metrics_csv import MetricsTable
from firstlight.training.callbacks.misclassified import MisclassifiedImages
from firstlight.training.callbacks.run_folder import RunFolder
from firstlight.training.callbacks.stop_signals import StopSignals, resume_command
from firstlight.training.checkpoint_io import CheckpointIO
from firstlight.training.data_module import ImageData
from firstlight.training.lightning_internals import kill_workers, starts_processes_at_each_call
from firstlight.training.loggers.csv_rows import restore_rows, rows_before
from firstlight.training.loggers.factory import make_logger
from firstlight.training.module import Classifier
from firstlight.training.processes import check_nodes, is_first_process
from firstlight.training.trainer import Trainer, convert_trainer_errors
from firstlight.training.training_clock import TrainingClock

DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO)


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
    """Train and test a model, and return the finished run.

    Args:
        folder: Run folder. It exists on the first process only; the others never write to it.
        module: Module of the recipe, initialized.
        data: Data with the training images loaded.
        options: Logger, histograms, how a GPU runs the training steps, and whether to test.
        trainer_options: Arguments of Lightning's Trainer.
        times: How often to write checkpoints.
        checkpoint: Checkpoint from which to continue; None starts from the beginning.
        started_s: When this process started, on the clock of `time.perf_counter`.

    Raises:
        StoppedError: The process received SIGINT or SIGTERM; the run can be resumed.
        TrainingError: The loss is not finite, or the folder cannot be written.
        UsageError: Lightning's Trainer rejects its arguments.
    """
    check_nodes(int(trainer_options.get("num_nodes") or 1))
    with StopSignals(folder) as stop, _convert_user_errors(folder):
        clock = TrainingClock(started_s)
        checkpoints = CheckpointFolder(folder / "checkpoints")
        checkpointing = Checkpointing(checkpoints, folder, module.recipe, times, stop, clock)
        table, sheet = MetricsTable(), MisclassifiedImages()
        run_folder = RunFolder(table, sheet, folder, clock)
        writers = [table, sheet]
        trainer = _make_trainer(
            folder, module, options, trainer_options, checkpointing, writers, run_folder, checkpoint
        )
        with _kill_workers_on_stop(trainer), _convert_restore_errors(checkpoint, checkpointing):
            trainer.fit(module, datamodule=data, ckpt_path=checkpoint.path if checkpoint else None, weights_only=True)
        tested = trainer.test(module, datamodule=data, verbose=False) if options.test else []
        run = Run(trainer.strategy.broadcast(folder))
        if not tested:  # no test was asked for, or Lightning has skipped a test of no batches
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
    run_folder: RunFolder,
    checkpoint: Checkpoint | None,
) -> pl.Trainer:
    user_callbacks = trainer_options.get("callbacks") or []
    user_callbacks = list(user_callbacks) if isinstance(user_callbacks, list | tuple) else [user_callbacks]
    callbacks = [
        checkpointing,  # must be the first callback, as its docstring explains
        checkpointing.stop,
        FiniteLoss(checkpointing.folder),
        EpochMeans(),
        *writers,
        *user_callbacks,
        run_folder,  # last, because results.json must be written after all user callbacks have run
    ]
    path = folder.absolute()
    rows = rows_before(folder, checkpoint.step) if checkpoint else []
    logger = make_logger(options.logger, path.parent.parent, path.parent.name, path.name)
    if is_first_process():
        restore_rows(logger, rows)
    with convert_trainer_errors():
        trainer = Trainer(
            max_epochs=module.recipe.max_epochs,
            histograms=options.histograms,
            callbacks=callbacks,
            **(
                # The graph and the hyperparameters are logged once: a resumed run already has them.
                {"enable_model_summary": False, "enable_autolog_hparams": checkpoint is None, "logger": logger or False}
                | {"enable_checkpointing": any(isinstance(c, pl.callbacks.Checkpoint) for c in user_callbacks)}
                | {name: value for name, value in trainer_options.items() if name != "callbacks"}
            ),
        )
    if starts_processes_at_each_call(trainer):
        raise UsageError(
            "this strategy starts new processes for the training and again for the test, but a run needs the same "
            "processes for both: choose the strategy ddp, or one device"
        )
    trainer.strategy.checkpoint_io = CheckpointIO(checkpointing.folder)
    return trainer


@contextmanager
def _kill_workers_on_stop(trainer: pl.Trainer) -> Iterator[None]:
    """Kill Lightning's worker processes if this process is stopped."""
    try:
        yield
    except StoppedError:
        kill_workers(trainer)
        raise


@contextmanager
def _convert_restore_errors(checkpoint: Checkpoint | None, checkpointing: Checkpointing) -> Iterator[None]:
    """Convert what Lightning and PyTorch raise for a checkpoint that does not fit the run, until it is restored."""
    try:
        yield
    except (TypeError, ValueError, LookupError, AttributeError, RuntimeError) as error:
        if checkpoint is None or checkpointing.is_restored or isinstance(error, FirstlightError):
            raise
        first = next(iter(str(error).strip().splitlines()), "")[:200]
        raise RunError(
            f"{checkpoint.path}: does not fit the run ({type(error).__name__}: {first}). Remove it to use the "
            "checkpoint before it."
        ) from error


@contextmanager
def _convert_user_errors(folder: Path) -> Iterator[None]:
    """Convert errors that a user can fix into one-line errors: a full or read-only disk, clashing Trainer arguments."""
    hook = threading.excepthook  # TensorBoard's writer raises a disk error in its own thread first
    threading.excepthook = lambda args: None if _is_disk_error(args.exc_value) else hook(args)
    try:
        yield
    except WriteError as error:
        raise TrainingError(f"{str(error).rstrip('.')}. Then resume with: {resume_command(folder)}") from error
    except OSError as error:
        if not _is_disk_error(error):
            raise
        raise TrainingError(
            f"cannot write to {folder}: {error.strerror}. Free space, then resume with: {resume_command(folder)}"
        ) from error
    except MisconfigurationException as error:
        with convert_trainer_errors():
            raise error
    finally:
        threading.excepthook = hook


def _is_disk_error(error: BaseException | None) -> bool:
    """Return whether an error means that the disk is full, read-only or broken."""
    return isinstance(error, OSError) and error.errno in DISK_ERRORS
