"""`firstlight.cross_validate`: train on all but one fold of the training images, for each fold."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from firstlight.data.folds import Fold, split_fold
from firstlight.errors import UsageError
from firstlight.evaluation.intervals import wilson_interval
from firstlight.evaluation.predictions import Predictions, ordered_by_id, with_file_names
from firstlight.evaluation.student_t import MetricSummary, summarize_values
from firstlight.paths import DEFAULT_DATA_DIR, DEFAULT_LOGS_DIR
from firstlight.recipes.config import Recipe
from firstlight.runs.run import Run
from firstlight.training.data_module import ImageData
from firstlight.training.fit import fit
from firstlight.training.module import Classifier
from firstlight.training.repeated_fits import FitGroup, on_one_device
from firstlight.training.trainer import SILENT, Trainer

PREDICTIONS = "oof_predictions.npz"


@dataclass(frozen=True)
class CrossValidation:
    """Runs of a cross-validation.

    Args:
        path: Folder of `summary.json` and `oof_predictions.npz`.
        runs: The run of each fold.
        accuracy: Accuracy on the held-out folds, with mean and standard deviation.
        predictions: Out-of-fold predictions: those for each training image by the run that did not see it.
    """

    path: Path
    runs: tuple[Run, ...]
    accuracy: MetricSummary
    predictions: Predictions


def cross_validate(
    recipe: Recipe,
    num_folds: int,
    data_dir: Path | str = DEFAULT_DATA_DIR,
    logs_dir: Path | str = DEFAULT_LOGS_DIR,
    **options: Any,
) -> CrossValidation:
    """Cross-validate a recipe: train as many runs as folds, each without one fold of the training images.

    The folds are stratified and the same for every seed; see `firstlight.data.folds.split_fold`. Each run is validated
    and calibrated on the fold that it leaves out, and tested on the test split. The run folders are in
    `logs_dir/<recipe>`, beside the folder `folds_of_<k>_<n>` with `summary.json` and `oof_predictions.npz`. A second
    call with the same arguments returns the finished runs, resumes an interrupted one and trains the others.

    Args:
        recipe: Network, data and training; its `num_val` is ignored.
        num_folds: Number of folds, at least 2.
        data_dir: Folder of the data sets, or one folder of images per class.
        logs_dir: Folder of all runs.
        **options: Further arguments of `firstlight.fit`.

    Raises:
        UsageError: There are fewer than two folds or fewer images than folds, or `options` ask for several devices.
        StoppedError, TrainingError, FirstlightError: See `firstlight.fit`.
    """
    if num_folds < 2:
        raise UsageError(f"folds must be 2 or more, not {num_folds}")
    options = on_one_device(options)
    group = FitGroup.open(f"folds_of_{num_folds}", replace(recipe, num_val=0), data_dir, logs_dir, options)
    runs = []
    for index in range(num_folds):
        fold = Fold(index, num_folds)

        def start(on_start: Callable[[Path], None], fold: Fold = fold) -> Run:
            return fit(recipe, data_dir, logs_dir, fold=fold, on_start=on_start, **options)

        runs.append(group.train(f"fold {index + 1} of {num_folds}", start))
    device = {name: options[name] for name in ("accelerator", "precision") if options.get(name) is not None}
    parts = [predict_fold(run, data_dir, Fold(index, num_folds), **device) for index, run in enumerate(runs)]
    predictions = _joined(parts)
    accuracy = summarize_values([part.accuracy for part in parts])
    predictions.save(group.path / PREDICTIONS)
    num_right = int((predictions.predicted == predictions.labels).sum())
    group.write_summary(
        {
            "num_images": [len(part) for part in parts],
            "class_names": list(runs[0].class_names),
            "oof_accuracy": predictions.accuracy,
            "oof_accuracy_interval": list(wilson_interval(num_right, len(predictions))),
            "oof_loss": predictions.loss,
            "fold_accuracy": asdict(accuracy),
        }
    )
    return CrossValidation(group.path, tuple(runs), accuracy, predictions)


def predict_fold(run: Run, data_dir: Path | str, fold: Fold, **trainer_options: Any) -> Predictions:
    """Return a run's predictions for the fold that it was not trained on; ids are those of the training images.

    Args:
        run: Run that left out the fold.
        data_dir: Folder of the data.
        fold: Fold to predict.
        **trainer_options: Any argument of `pytorch_lightning.Trainer`, for instance the precision.
    """
    data = ImageData(run.recipe, data_dir, fold, run.decisions)
    data.test = split_fold(data.source.train(), fold)[1]
    module = Classifier(run.network, replace(run.recipe, views="single"))
    Trainer(**(SILENT | {"devices": 1} | trainer_options)).test(module, datamodule=data, verbose=False)
    assert module.test_predictions is not None
    return with_file_names(module.test_predictions, data.test)


def _joined(parts: list[Predictions]) -> Predictions:
    """Return the predictions of all folds, ordered by id."""
    arrays = (torch.cat([getattr(part, name) for part in parts]) for name in ("logits", "features", "labels", "ids"))
    joined = ordered_by_id(*arrays)
    if any(part.file_names is None for part in parts):
        return joined
    names = {
        index: name for part in parts for index, name in zip(part.ids.tolist(), part.file_names or (), strict=True)
    }
    return replace(joined, file_names=tuple(names[index] for index in joined.ids.tolist()))
