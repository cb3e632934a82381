"""Builds a bundle from a run: rounds the weights to half precision and measures everything with these weights."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from firstlight.arrays import Logits
from firstlight.data.images import ImageSet
from firstlight.errors import RunError
from firstlight.evaluation.calibration import Calibration, calibrate
from firstlight.evaluation.calibration_error import calibration_error
from firstlight.evaluation.confusion import confusion
from firstlight.evaluation.mistakes import MistakeFilter
from firstlight.evaluation.novelty import is_novel
from firstlight.evaluation.predictions import Predictions
from firstlight.evaluation.tta_views import Views, logits_of
from firstlight.export.bundle import Bundle, LabelledPredictions, save_labelled_predictions, save_measured
from firstlight.export.card import write_card
from firstlight.export.ood_images import ood_images
from firstlight.networks import StagedNetwork
from firstlight.runs.environment import describe_environment
from firstlight.runs.model_config import ModelConfig
from firstlight.runs.pretrained import WEIGHTS_NAME, Pretrained, save_pretrained
from firstlight.runs.run import Run
from firstlight.training.data_module import ImageData
from firstlight.training.retest import load_test_images

MAX_EXAMPLES = 10

_log = logging.getLogger("firstlight")


def build_bundle(run: Run, folder: Path, data_dir: Path | str | None = None, calibrate_on: Run | None = None) -> Bundle:
    """Write the bundle of a run.

    The weights are rounded first, and all numbers on the test images are measured with the rounded weights. Temperature
    and novelty threshold are those of the run's calibration. If the run has none, they are computed from the rounded
    network and the run's validation images. If `calibrate_on` is given, they are always computed from the network and
    the validation images of that run.

    Args:
        run: Finished run.
        folder: Empty folder; created if it does not exist.
        data_dir: Path of the run's data set if it was moved.
        calibrate_on: Another run of the same recipe with validation images; needed if `run` was trained on all images.

    Raises:
        RunError: The run has no validation images and no other run was named.
        DataError: The data set is missing.
    """
    config = ModelConfig(
        network=run.recipe.network,
        class_names=run.class_names,
        size_px=run.size_px,
        recipe=run.recipe.to_dict(),
    )
    test = load_test_images(run, data_dir).test
    rounded = save_pretrained(folder, config, run.network.state_dict())
    source = calibrate_on or run
    other_recipe = None if source is run else source.recipe.to_dict()
    calibration = _calibrate(source, run, rounded, data_dir)
    config = replace(config, temperature=calibration.temperature, novelty_threshold=calibration.novelty_threshold)
    config.save(folder)
    views: Views = "flip" if run.recipe.views == "single" else run.recipe.views
    _log.info(f"testing on {len(test):,} images, single view and averaged over several")
    logits = logits_of(rounded.network, test.pixels)
    averaged = logits_of(rounded.network, test.pixels, views, single=logits, margin=run.recipe.views_margin)
    predictions = Predictions(logits, torch.empty(len(test), 0), test.labels, test.ids)
    measured = {
        "data": run.data["name"],
        "test": _test_numbers(predictions, averaged, views),
        "calibration": _calibration_numbers(predictions, calibration, other_recipe),
        "novelty": _novelty_numbers(rounded.network, predictions.logits, run, calibration.novelty_threshold),
        "confusion": confusion(predictions.labels, predictions.predicted, len(run.class_names)).tolist(),
        "training": _training(run),
        "exported": describe_environment(),
        "weights_sha256": sha256(folder / WEIGHTS_NAME),
        "run_weights_sha256": sha256(run.weights_path),
    }
    save_measured(folder, measured)
    all_mistakes = MistakeFilter(count=None, order="index")
    save_labelled_predictions(
        folder, "mistakes", _labelled_predictions(test, predictions, all_mistakes.rows(predictions, run.class_names))
    )
    save_labelled_predictions(folder, "examples", _labelled_predictions(test, predictions, _first_of_each_class(test)))
    bundle = Bundle(folder)
    write_card(bundle)
    return bundle


def sha256(path: Path) -> str:
    """Return the SHA-256 digest of a file in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _calibrate(source: Run, run: Run, rounded: Pretrained, data_dir: Path | str | None) -> Calibration:
    if source is run and run.calibration is not None:  # so that `predict` and the app give the same probabilities
        return run.calibration
    data = ImageData.of_run(source, data_dir)
    data.setup("validate")
    if not len(data.val):
        raise RunError(
            f"{source.path} was trained on all images and has none left for calibration. Name a run of the same recipe "
            f"that has validation images: firstlight export {run.path} --to bundle DIR --calibrate_on OTHER_RUN"
        )
    if data.val.class_names != run.class_names:
        raise RunError(f"{source.path} cannot calibrate {run.path}, because it has other classes")
    _log.info(f"calibrating on {len(data.val):,} validation images of {source.path}")
    logits = logits_of(rounded.network if source is run else source.network, data.val.pixels)
    return calibrate(logits, data.val.labels)


def _test_numbers(predictions: Predictions, averaged: Logits, views: Views) -> dict[str, Any]:
    return {
        "num_images": len(predictions),
        "single_view": predictions.accuracy,
        "views": views,
        "averaged": replace(predictions, logits=averaged).accuracy,
        "num_wrong": len(predictions.misclassified()),
    }


def _calibration_numbers(
    predictions: Predictions, calibration: Calibration, other_recipe: dict[str, Any] | None
) -> dict[str, Any]:
    """Return the numbers of a calibration; `other_recipe` is that of another run whose validation images were used."""
    after = predictions.probabilities(calibration.temperature)
    return {
        "temperature": calibration.temperature,
        "num_validation_images": calibration.num_images,
        "other_recipe": other_recipe,
        "error_before": calibration_error(predictions.probabilities(), predictions.labels),
        "error_after": calibration_error(after, predictions.labels),
    }


def _novelty_numbers(network: StagedNetwork, test: Logits, run: Run, threshold: float) -> dict[str, Any]:
    kinds = ood_images(run.data["name"], run.size_px)
    return {
        "threshold": threshold,
        "false_alarms": _share_novel(test, threshold),
        "detected": {kind: _share_novel(logits_of(network, images), threshold) for kind, images in kinds.items()},
        "num_images": {kind: len(images) for kind, images in kinds.items()},
    }


def _share_novel(logits: Logits, threshold: float) -> float:
    return int(is_novel(logits, threshold).sum()) / len(logits)


def _training(run: Run) -> dict[str, Any]:
    known = {name: run.environment.get(name) for name in ("date", "commit", "hardware", "versions")}
    return known | {name: run.results[name] for name in ("val_acc", "test_acc", "train_s") if name in run.results}


def _labelled_predictions(images: ImageSet, predictions: Predictions, rows: torch.Tensor) -> LabelledPredictions:
    chosen = Predictions(
        predictions.logits[rows], predictions.features[rows], predictions.labels[rows], predictions.ids[rows]
    )
    return LabelledPredictions(images[rows], chosen)


def _first_of_each_class(images: ImageSet) -> torch.Tensor:
    first = [(images.labels == label).nonzero() for label in range(len(images.class_names))]
    return torch.stack([rows[0, 0] for rows in first if len(rows)][:MAX_EXAMPLES])
