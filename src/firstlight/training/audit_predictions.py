"""Predictions for an audit: of every image of a data set by networks that were not trained on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from firstlight.data.folds import fold_numbers
from firstlight.data.images import ImageSet
from firstlight.data.source import Source
from firstlight.errors import DataError
from firstlight.evaluation.predictions import Predictions
from firstlight.paths import DEFAULT_LOGS_DIR
from firstlight.recipes.config import Recipe
from firstlight.reports.cached_predictions import predict_images
from firstlight.reports.label_audit import HeldOut, mean_predictions
from firstlight.runs.run import Run
from firstlight.training.cross_validation import cross_validate

DEFAULT_FOLDS = 5
DEFAULT_RECIPE = "demo"


def predict_held_out(
    source: Source,
    splits: Mapping[str, ImageSet],
    recipe: Recipe,
    num_folds: int = DEFAULT_FOLDS,
    logs_dir: Path | str = DEFAULT_LOGS_DIR,
    **options: Any,
) -> dict[str, HeldOut]:
    """Cross-validate a recipe on the training images, and predict every split.

    Each training image is predicted by the run that was not trained on it, and the images of val and test by all runs,
    whose log-probabilities are averaged. Called again, finished runs are used again; see `firstlight.cross_validate`.

    Args:
        source: The data set.
        splits: Its images by the names "train", "val" and "test".
        recipe: Network and training.
        num_folds: Number of folds, at least 2.
        logs_dir: Folder of all runs.
        **options: Further arguments of `firstlight.fit`.

    Returns:
        The predictions of each split.

    Raises:
        UsageError: There are fewer than two folds, or fewer training images than folds.
        DataError: The data set has changed meanwhile.
        StoppedError, TrainingError, FirstlightError: See `firstlight.fit`.
    """
    image_column, label_column = source.columns
    recipe = replace(
        recipe,
        data=source.name,
        image_size=source.image_size,
        image_column=image_column,
        label_column=label_column,
    )
    found = cross_validate(recipe, num_folds, source.data_dir, logs_dir, **options)
    train = splits["train"]
    if not found.predictions.labels.equal(train.labels):
        raise DataError(f"{source.data_dir}: the training images have changed during the audit; start it again")
    made_by = f"{num_folds} folds of the recipe {recipe.name}"
    held_out = {"train": HeldOut(found.predictions, fold_numbers(train, num_folds), made_by)}
    for name in ("val", "test"):
        if len(splits.get(name, ())):
            images = splits[name]
            parts = [_predict(run, name, images) for run in found.runs]
            held_out[name] = HeldOut(mean_predictions(parts), torch.zeros_like(images.labels), f"the {made_by}")
    return held_out


def _predict(run: Run, split: str, images: ImageSet) -> Predictions:
    """Return a run's predictions for the images of a split: the stored ones for test."""
    if split == "test" and run.predictions.labels.equal(images.labels):
        return run.predictions
    return predict_images(run.network, images)
