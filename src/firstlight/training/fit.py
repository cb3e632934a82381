"""`firstlight.fit`: train and test a recipe, and leave a run folder."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import Logger

from firstlight.data.decisions import Decisions, decisions_from
from firstlight.data.folds import Fold
from firstlight.data.source import open_source
from firstlight.errors import FirstlightError, UsageError
from firstlight.paths import DEFAULT_DATA_DIR, DEFAULT_LOGS_DIR, user_path
from firstlight.recipes import has_own_data
from firstlight.recipes.config import Recipe
from firstlight.runs.open_model import lasting_name
from firstlight.runs.options import FitOptions, Steps, check_steps
from firstlight.runs.predictor import Predictor
from firstlight.runs.run import Run
from firstlight.runs.versions import new_version
from firstlight.training.build import build
from firstlight.training.callbacks.checkpointing import CheckpointTimes
from firstlight.training.data_module import ImageData
from firstlight.training.disk_space import refuse_full_disk
from firstlight.training.loggers.factory import check_logger
from firstlight.training.module import Classifier
from firstlight.training.processes import is_first_process, training_lock
from firstlight.training.runner import train_and_test
from firstlight.training.save_run import save_description
from firstlight.training.trainer import Trainer, convert_trainer_errors


def fit(
    recipe: Recipe,
    data_dir: Path | str = DEFAULT_DATA_DIR,
    logs_dir: Path | str = DEFAULT_LOGS_DIR,
    *,
    logger: str | Logger | Iterable[Logger] | bool = "tensorboard",
    histograms: bool = False,
    steps: Steps = "recorded",
    checkpoints: CheckpointTimes = CheckpointTimes(),
    fold: Fold | None = None,
    decisions: Decisions | Path | str | None = None,
    test: bool = True,
    init: Predictor | Path | str | None = None,
    on_start: Callable[[Path], None] | None = None,
    **trainer_options: Any,
) -> Run:
    """Train and test a recipe, and leave a run folder. `firstlight.resume` continues a run that was interrupted.

    Args:
        recipe: Network, data and training.
        data_dir: Folder that holds the data sets, or one folder of images per class, which replaces the data of a
            built-in recipe.
        logs_dir: Folder of all runs; this one is written to `logs_dir/<recipe>/version_<n>`.
        logger: "tensorboard" (or True), "csv", "wandb", "mlflow", "comet" or "none" (or False); or one or several of
            Lightning's loggers.
        histograms: Whether to write histograms of weights and gradients to TensorBoard, once an epoch.
        steps: How a GPU runs the training steps; see `Classifier`.
        checkpoints: How often to write checkpoints.
        fold: Fold of a cross-validation to validate on; see `firstlight.cross_validate`.
        decisions: Decisions of an audit, or the CSV file that holds them: images to drop, and new labels.
        test: Whether to test the trained network. Without, the run has no test metrics and no predictions, until
            `firstlight.retest` or `firstlight test` makes them.
        init: Model to start from instead of random weights: a run or its folder, a folder that `export` wrote,
            "bundled" or the name of a model on the hub. It replaces `recipe.init`.
        on_start: Function that is called with the run folder before the training begins.
        **trainer_options: Any argument of `pytorch_lightning.Trainer`, except `barebones=True`.

    Returns:
        The finished run.

    Raises:
        FirstlightError: The data are missing or malformed, or the folder cannot be written.
        StoppedError: The process received SIGINT or SIGTERM; the message names the command that resumes the run.
        TrainingError: The loss is not finite, or the disk is full.
    """
    started_s = time.perf_counter()
    if isinstance(logger, bool):
        logger = "tensorboard" if logger else "none"
    if not isinstance(logger, str):
        trainer_options["logger"], logger = logger, "none"
    check_logger(logger)
    check_steps(steps)
    if (max_epochs := trainer_options.pop("max_epochs", None)) is not None:
        recipe = replace(recipe, max_epochs=max_epochs)
    recipe = _choose_init(choose_data(recipe, data_dir), init)
    module, data = build(recipe, data_dir, steps, fold, decisions_from(decisions))
    options = FitOptions.of(logger, histograms, steps, trainer_options)
    options = replace(options, test=test, fold=None if fold is None else [fold.index, fold.count])
    refuse_full_disk(user_path(logs_dir), module.network)
    folder = _new_run_folder(module, data, user_path(logs_dir), options)  # a folder of images changes data.recipe
    with training_lock(folder):
        if on_start is not None:
            on_start(folder)
        try:
            return train_and_test(folder, module, data, options, trainer_options, checkpoints, None, started_s)
        except UsageError:  # the run never started
            if is_first_process():
                shutil.rmtree(folder, ignore_errors=True)
            raise


def dry_run(
    recipe: Recipe,
    data_dir: Path | str = DEFAULT_DATA_DIR,
    *,
    steps: Steps = "recorded",
    decisions: Decisions | Path | str | None = None,
    **trainer_options: Any,
) -> None:
    """Run one batch of training, validation and test, and write nothing (Lightning's `fast_dev_run`)."""
    check_steps(steps)
    module, data = build(choose_data(recipe, data_dir), data_dir, steps, decisions=decisions_from(decisions))
    with convert_trainer_errors():
        trainer = Trainer(max_epochs=1, fast_dev_run=True, **trainer_options)
    trainer.fit(module, datamodule=data)
    trainer.test(module, datamodule=data, verbose=False)


def choose_data(recipe: Recipe, data_dir: Path | str) -> Recipe:
    """Return the recipe with the data set to train on: a folder of images replaces the data of a built-in recipe.

    It does not replace a data set that the user has put into the recipe.
    """
    is_named = not has_own_data(recipe)
    return replace(recipe, data=open_source(recipe.data, data_dir, is_named=is_named, columns=recipe.columns).name)


def _choose_init(recipe: Recipe, init: Predictor | Path | str | None) -> Recipe:
    """Return the recipe with the model to start from, by a name that is valid in another working directory, too."""
    name = recipe.init if init is None else str(getattr(init, "path", init))
    return replace(recipe, init=lasting_name(name)) if name else recipe


def _new_run_folder(module: Classifier, data: ImageData, logs_dir: Path, options: FitOptions) -> Path:
    """Create the run folder on the first process. The others learn its name once Lightning has connected them."""
    if not is_first_process():
        return logs_dir / data.recipe.name / "of_the_first_process"
    folder = new_version(logs_dir / data.recipe.name)
    try:
        options.save(folder)
        save_description(folder, data.recipe, data, module.start_weights)
    except FirstlightError:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return folder
