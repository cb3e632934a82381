"""`firstlight fit --find_lr`: a learning-rate range test with Lightning's tuner."""

from __future__ import annotations

import csv
import io
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytorch_lightning.tuner import Tuner

from firstlight.data.decisions import decisions_from
from firstlight.errors import TrainingError, UsageError
from firstlight.files import write_atomic
from firstlight.paths import DEFAULT_DATA_DIR, DEFAULT_LOGS_DIR, user_path
from firstlight.plots.learning_rates import learning_rate_curve
from firstlight.recipes.config import MuonConfig, Recipe
from firstlight.runs.options import Steps
from firstlight.runs.versions import new_version
from firstlight.training.build import build
from firstlight.training.fit import choose_data
from firstlight.training.trainer import SILENT, Trainer, convert_trainer_errors

FOLDER = "learning_rates"  # below the folder of the recipe's runs
FIGURE, TABLE = "learning_rates.png", "learning_rates.csv"
MIN_LR, MAX_LR = 1e-6, 10.0
NUM_STEPS = 100
NUM_SKIPPED = 10  # first steps, whose average Lightning makes too small, and which its suggestion leaves out


@dataclass(frozen=True)
class LearningRates:
    """Training loss at growing learning rates.

    Args:
        path: Folder of the figure and the table.
        learning_rates: Learning rate of each step after the first ten.
        losses: Training loss of each step, averaged exponentially over the steps before it.
        suggestion: Learning rate at which the loss falls fastest.
        of_recipe: Learning rate of the recipe.
    """

    path: Path
    learning_rates: tuple[float, ...]
    losses: tuple[float, ...]
    suggestion: float
    of_recipe: float


def find_lr(
    recipe: Recipe,
    data_dir: Path | str = DEFAULT_DATA_DIR,
    logs_dir: Path | str = DEFAULT_LOGS_DIR,
    *,
    num_steps: int = NUM_STEPS,
    steps: Steps = "recorded",
    decisions: Path | str | None = None,
    **trainer_options: Any,
) -> LearningRates:
    """Train some steps with a learning rate that grows from step to step, and suggest one (Smith 2017, section 3.3).

    The test ends early where the loss is four times its smallest value. The figure and a table of the losses are
    written to `logs_dir/<recipe>/learning_rates/version_<n>`. The suggestion is that of `Tuner.lr_find`. Smith
    2017 is "Cyclical Learning Rates for Training Neural Networks".

    Args:
        recipe: Recipe with the optimizer adam or sgd.
        data_dir: See `firstlight.fit`.
        logs_dir: Folder of all runs.
        num_steps: Training steps between the smallest and the largest learning rate.
        steps: See `firstlight.fit`.
        decisions: See `firstlight.fit`.
        **trainer_options: Any argument of `pytorch_lightning.Trainer`.

    Raises:
        UsageError: The recipe's optimizer has several learning rates.
        TrainingError: The losses are too few for a suggestion.
        FirstlightError: See `firstlight.fit`.
    """
    if isinstance(recipe.optimizer, MuonConfig):
        raise UsageError("the optimizer muon has two learning rates: --find_lr works with --optimizer.name adam or sgd")
    module, data = build(choose_data(recipe, data_dir), data_dir, steps, decisions=decisions_from(decisions))
    of_recipe = module.learning_rate
    folder = new_version(user_path(logs_dir) / recipe.name / FOLDER)
    limits = {"max_epochs": 10**6, "num_sanity_val_steps": 0, "limit_val_batches": 0, "default_root_dir": folder}
    with convert_trainer_errors():
        trainer = Trainer(**(trainer_options | SILENT | limits))
    finder = Tuner(trainer).lr_find(
        module, datamodule=data, min_lr=MIN_LR, max_lr=MAX_LR, num_training=num_steps, update_attr=False
    )
    suggestion = finder.suggestion() if finder is not None else None
    if finder is None or suggestion is None or not math.isfinite(suggestion):
        raise TrainingError("the loss was finite for too few steps, so that no learning rate can be suggested")
    rates, losses = (tuple(finder.results[name][NUM_SKIPPED:]) for name in ("lr", "loss"))
    found = LearningRates(folder, rates, losses, float(suggestion), of_recipe)
    _save(found, recipe)
    return found


def _save(found: LearningRates, recipe: Recipe) -> None:
    figure = learning_rate_curve(
        found.learning_rates, found.losses, found.suggestion, found.of_recipe, f"{recipe.name} on {recipe.data}"
    )
    write_atomic(found.path / FIGURE, figure.png())
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["learning_rate", "train_loss"])
    writer.writerows(zip(found.learning_rates, found.losses, strict=True))
    write_atomic(found.path / TABLE, stream.getvalue())
