"""`report.html` of a run: the findings are collected here; `report_page` renders them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from jaxtyping import Float
from torch import Tensor

from firstlight.data.images import ImageSet
from firstlight.errors import RunError
from firstlight.evaluation.confusion import confusion
from firstlight.files import write_atomic
from firstlight.reports.class_report import class_results
from firstlight.reports.feature_map import check_projection, make_feature_map
from firstlight.reports.gallery import MAX_MISTAKES, make_gallery
from firstlight.reports.report_page import Findings, render_report
from firstlight.reports.sampled_maps import sample_maps
from firstlight.reports.shortcuts import find_shortcuts
from firstlight.reports.training_evidence import find_training_evidence
from firstlight.reports.trust import AUTO, choose_maps
from firstlight.reports.weak_slices import find_weak_slices
from firstlight.runs.run import Run

FILE_NAME = "report.html"
Attributes = Mapping[str, Float[Tensor, " n"]]


def write_report(
    run: Run,
    images: ImageSet,
    path: Path | None = None,
    *,
    method: str = AUTO,
    stage: str | None = None,
    max_mistakes: int = MAX_MISTAKES,
    train: ImageSet | None = None,
    attributes: Attributes | None = None,
    projection: str = "pca",
    on_image: Callable[[int, int], None] | None = None,
) -> Path:
    """Write the HTML report of a run: one file that needs no server and no network.

    Args:
        run: Finished run with predictions.
        images: Test images of the run.
        path: File to write; None for `report.html` in the run folder.
        method: Attribution method of the maps; see `firstlight.attribution.explain`. "auto" chooses method and stage by
            the measured faithfulness; see `firstlight.reports.trust.choose_maps`.
        stage: Stage to explain; None for the last.
        max_mistakes: Largest number of mistakes with images; the most confident are chosen.
        train: Training images of the run; None omits the training images that explain each mistake.
        attributes: More attributes of the test images by which to look for weak slices.
        projection: Projection of the map of the features; see `firstlight.reports.feature_map.make_feature_map`.
        on_image: Called with the number of training images done and of all, while their features are computed.

    Returns:
        The path of the file.

    Raises:
        RunError: There are no images, the predictions of the run are not for them, or `trust.json` is damaged.
        UsageError: No method, stage or projection has that name.
        MissingPackageError: The package of UMAP is not installed.
    """
    path = path or run.path / FILE_NAME
    check_projection(projection)
    check_predictions(run, images)
    predictions, choice = run.predictions, choose_maps(run, method, stage, only_fast=True)
    calibrated = run.calibrated_predictions  # the probabilities that `predict`, `explain` and the app show
    gallery = make_gallery(run.network, images, calibrated, choice.method, choice.stage, max_mistakes)
    sampled = sample_maps(run.network, images, choice.method, choice.stage)
    wrong = calibrated.misclassified()[:max_mistakes]
    findings = Findings(
        predictions=predictions,
        choice=choice,
        gallery=gallery,
        slices=find_weak_slices(images, predictions, attributes),
        sampled=sampled,
        shortcuts=find_shortcuts(run.network, images, sampled),
        training=None if train is None else find_training_evidence(run, train, predictions, wrong, on_image),
        feature_map=make_feature_map(images, predictions, projection=projection),
    )
    write_atomic(path, render_report(run, images, findings, train))
    return path


def report_numbers(run: Run, images: ImageSet, attributes: Attributes | None = None) -> dict[str, Any]:
    """Return the numbers of a run's report, for programs.

    Args:
        run: Finished run with predictions.
        images: Test images of the run.
        attributes: More attributes of the test images by which to look for weak slices.

    Returns:
        The entries of `firstlight.reports.class_report.class_results`, and `num_images`, `num_right`, `class_names`,
        `confusion` (a list for each true class), and `slices`, the weak slices with their intervals and q-values.

    Raises:
        RunError: There are no images, or the predictions of the run are not for them.
    """
    check_predictions(run, images)
    predictions = run.predictions
    matrix = confusion(predictions.labels, predictions.predicted, len(run.class_names))
    slices = [
        {
            "name": each.name,
            "num_images": each.num_images,
            "accuracy": each.accuracy,
            "interval": list(each.interval),
            "q_value": each.q_value,
        }
        for each in find_weak_slices(images, predictions, attributes)
    ]
    return class_results(predictions, run.class_names, run.temperature) | {
        "num_images": len(predictions),
        "num_right": int(matrix.trace()),
        "class_names": list(run.class_names),
        "confusion": matrix.tolist(),
        "slices": slices,
    }


def check_predictions(run: Run, images: ImageSet) -> None:
    """Check that the predictions of a run are for these images.

    Raises:
        RunError: The number of images or their labels differ, or there are no images.
    """
    predictions = run.predictions
    if len(predictions) != len(images) or not predictions.labels.equal(images.labels):
        raise RunError(f"{run.path}: its predictions are not of these test images; run `firstlight test {run.path}`")
    if not len(predictions):
        raise RunError(f"{run.path}: there is no test image to report on")
