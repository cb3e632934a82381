"""fit: a Recipe becomes a Run."""

from __future__ import annotations

import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import Logger

from firstlight.errors import FirstlightError, UsageError
from firstlight.paths import DEFAULT_DATA_DIR, DEFAULT_LOGS_DIR, user_path
from firstlight.recipes.config import Recipe
from firstlight.runs.options import FitOptions, Steps, check_steps
from firstlight.runs.run import Run
from firstlight.runs.versions import new_version
from firstlight.training.build import build
from firstlight.training.callbacks.checkpointing import CheckpointTimes
from firstlight.training.data_module import ImageData
from firstlight.training.loggers.factory import check_logger
from firstlight.training.processes import is_first_process, only_training
from firstlight.training.run_files import save_description
from firstlight.training.runner import train_and_test
from firstlight.training.trainer import Trainer, refusals_in_one_line


def fit(
    recipe: Recipe,
    data_dir: Path | str = DEFAULT_DATA_DIR,
    logs_dir: Path | str = DEFAULT_LOGS_DIR,
    *,
    logger: str | Logger | bool = "tensorboard",
    histograms: bool = False,
    steps: Steps = "recorded",
    checkpoints: CheckpointTimes = CheckpointTimes(),
    **trainer_options: Any,
) -> Run:
    """Train, test, and leave a run folder. What interrupts it, `resume` goes on with.

    Args:
        recipe: what to train, on what, and how.
        data_dir: where data sets on disk are kept.
        logs_dir: the run becomes `logs_dir/<recipe>/version_<n>`.
        logger: "tensorboard", "csv", "wandb", "mlflow", "comet" or "none"; or a logger of Lightning's.
        histograms: write weight and gradient histograms to TensorBoard, once an epoch.
        steps: how they are made on a GPU; see `Classifier.steps`.
        checkpoints: how often they are written.
        **trainer_options: any argument of `pytorch_lightning.Trainer`.

    Returns:
        The finished run.

    Raises:
        FirstlightError: the data are missing or malformed, or the folder cannot be written.
        StoppedError: SIGINT or SIGTERM came; the message says how to go on.
        TrainingError: the loss is no longer a finite number, or the disk is full.
    """
    started_s = time.perf_counter()
    if not isinstance(logger, str):
        trainer_options["logger"], logger = logger, "none"
    check_logger(logger)
    check_steps(steps)
    if (max_epochs := trainer_options.pop("max_epochs", None)) is not None:
        recipe = replace(recipe, max_epochs=max_epochs)
    module, data = build(recipe, data_dir, steps)
    options = FitOptions.of(logger, histograms, steps, trainer_options)
    folder = _new_run_folder(data, user_path(logs_dir), options)  # a folder of images changes data.recipe
    with only_training(folder):
        try:
            return train_and_test(folder, module, data, options, trainer_options, checkpoints, None, started_s)
        except UsageError:  # nothing can be trained that way
            if is_first_process():
                shutil.rmtree(folder, ignore_errors=True)
            raise


def dry_run(
    recipe: Recipe, data_dir: Path | str = DEFAULT_DATA_DIR, *, steps: Steps = "recorded", **trainer_options: Any
) -> None:
    """Put one batch through training, validation and test, and keep nothing (Lightning's `fast_dev_run`)."""
    check_steps(steps)
    module, data = build(recipe, data_dir, steps)
    with refusals_in_one_line():
        trainer = Trainer(max_epochs=1, fast_dev_run=True, **trainer_options)
    trainer.fit(module, datamodule=data)
    trainer.test(module, datamodule=data, verbose=False)


def _new_run_folder(data: ImageData, logs_dir: Path, options: FitOptions) -> Path:
    """Make the run folder, on the first process only; the others learn its name when they have met."""
    if not is_first_process():
        return logs_dir / data.recipe.name / "of_the_first_process"
    folder = new_version(logs_dir / data.recipe.name)
    try:
        options.save(folder)
        save_description(folder, data.recipe, data)
    except FirstlightError:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return folder
