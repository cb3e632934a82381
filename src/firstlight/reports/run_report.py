"""`report.html` of a run: summary, confusion matrix, images with attribution maps, and metrics of each class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import matplotlib
import numpy as np
from jaxtyping import Int64
from torch import Tensor

from firstlight.attribution import DEFAULT_METHOD, Faithfulness
from firstlight.data.images import ImageSet
from firstlight.durations import duration
from firstlight.errors import RunError
from firstlight.evaluation.calibration_error import reliability
from firstlight.evaluation.confusion import confusion
from firstlight.evaluation.predictions import Predictions
from firstlight.evaluation.slices import Slice, find_pairs, find_slices, image_attributes
from firstlight.files import write_atomic
from firstlight.plots.overlay import COLOUR_MAP, DEFAULT_OPACITY
from firstlight.reports.class_report import class_results
from firstlight.reports.gallery import MAX_MISTAKES, Gallery, examples_of_classes, make_gallery, right_images_of_class
from firstlight.reports.html.charts import bar_chart, line_chart
from firstlight.reports.html.rendering import render_page
from firstlight.reports.trust import RANDOM, load_trust, not_better_than_noise
from firstlight.runs.epoch_metrics import read_metrics
from firstlight.runs.run import Run

FILE_NAME = "report.html"
METRICS = ("deletion", "insertion", "energy_inside", "pointing", "randomization")
NUM_STATIC = 24  # mistakes that a browser without JavaScript shows
PALETTE_SIZE = 32
MAX_SLICES, MAX_PAIRS, MAX_Q_VALUE = 12, 6, 0.05
MAX_MATRIX_CLASSES = 100  # rows and columns of the confusion matrix on the page


def write_report(
    run: Run,
    images: ImageSet,
    path: Path | None = None,
    *,
    method: str = DEFAULT_METHOD,
    stage: str | None = None,
    max_mistakes: int = MAX_MISTAKES,
) -> Path:
    """Write the HTML report of a run: one file that needs no server and no network.

    Args:
        run: Finished run with predictions.
        images: Test images of the run.
        path: File to write; None for `report.html` in the run folder.
        method: Attribution method of the maps; see `firstlight.attribution.explain`.
        stage: Stage to explain; None for the last.
        max_mistakes: Largest number of mistakes with images; the most confident are chosen.

    Returns:
        The path of the file.

    Raises:
        RunError: The predictions of the run are not for these images, there is none, or `trust.json` is damaged.
        UsageError: No method or stage has that name.
    """
    path = path or run.path / FILE_NAME
    predictions = run.predictions
    check_predictions(run, images)
    gallery = make_gallery(run.network, images, predictions, method, stage, max_mistakes)
    write_atomic(
        path, render_report(run, images.name, predictions, gallery, find_weak_slices(images, predictions), method)
    )
    return path


def find_weak_slices(images: ImageSet, predictions: Predictions) -> list[Slice]:
    """Return slices of the test images with significantly lower accuracy, then pairs of slices that are worse still.

    Args:
        images: Test images.
        predictions: Predictions for these images.

    Returns:
        At most 12 slices and 6 pairs with a q-value below 0.05; a pair is less accurate than both of its slices.
    """
    right = predictions.predicted == predictions.labels
    slices = find_slices(image_attributes(images.images), images.labels, images.class_names, right)
    weak = [each for each in slices if each.q_value < MAX_Q_VALUE][:MAX_SLICES]
    accuracy = {each.name: each.accuracy for each in weak}
    pairs = [
        pair
        for pair in find_pairs(weak, right)
        if pair.q_value < MAX_Q_VALUE and pair.accuracy < min(accuracy[name] for name in pair.parents)
    ]
    return weak + pairs[:MAX_PAIRS]


def report_numbers(run: Run, images: ImageSet) -> dict[str, Any]:
    """Return the numbers of a run's report, for programs.

    Args:
        run: Finished run with predictions.
        images: Test images of the run.

    Returns:
        The entries of `firstlight.reports.class_report.class_results`, and `num_images`, `num_right`, `class_names`,
        `confusion` (a list for each true class), and `slices`, the weak slices with their intervals and q-values.

    Raises:
        RunError: The predictions of the run are not for these images, or there is none.
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
        for each in find_weak_slices(images, predictions)
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
        RunError: Their numbers or labels differ, or there is no image.
    """
    predictions = run.predictions
    if len(predictions) != len(images) or not predictions.labels.equal(images.labels):
        raise RunError(f"{run.path}: its predictions are not of these test images; run `firstlight test {run.path}`")
    if not len(predictions):
        raise RunError(f"{run.path}: there is no test image to report on")


def render_report(
    run: Run, data_name: str, predictions: Predictions, gallery: Gallery, slices: Sequence[Slice], method: str
) -> str:
    """Return the report as HTML.

    Args:
        run: Finished run.
        data_name: Name of the test images.
        predictions: Predictions for the test images.
        gallery: Images with their maps.
        slices: Slices from `find_weak_slices`.
        method: Attribution method of the maps.
    """
    names = run.class_names
    matrix = confusion(predictions.labels, predictions.predicted, len(names))
    labels = most_confused_classes(matrix)
    num_right = int(matrix.trace())
    return render_page(
        "report.html.j2",
        "report.js",
        "report.css",
        _script_data(names, matrix, labels, predictions, gallery, slices),
        title=f"{run.recipe.name} on {data_name}",
        num_images=len(predictions),
        num_right=num_right,
        num_wrong=len(predictions) - num_right,
        num_mistakes_shown=gallery.num_mistakes,
        metrics=class_results(predictions, names, run.temperature),
        facts=describe_run(run, data_name),
        charts=_charts(run, predictions),
        rows=_matrix_rows(matrix, labels, names),
        matrix_names=[names[label] for label in labels],
        names=names,
        slices=slices,
        method=method,
        stage=gallery.stage,
        trust=_trust_rows(load_trust(run)),
        static_entries=gallery.entries[: min(NUM_STATIC, gallery.num_mistakes)],
    )


def _script_data(
    names: Sequence[str],
    matrix: Int64[Tensor, "k k"],
    matrix_labels: list[int],
    predictions: Predictions,
    gallery: Gallery,
    slices: Sequence[Slice],
) -> dict[str, Any]:
    """Return the data of the page's script; each entry lists the slices to which its image belongs."""
    rows = {int(index): row for row, index in enumerate(predictions.ids)}
    entries = [
        entry | {"slices": [number for number, each in enumerate(slices) if each.members[rows[entry["index"]]]]}
        for entry in gallery.entries
    ]
    return {
        "classes": names,
        "matrix_labels": matrix_labels,
        "confusion": {
            f"{true},{predicted}": int(matrix[true, predicted]) for true, predicted in matrix.nonzero().tolist()
        },
        "map_size": gallery.map_size,
        "palette": _palette(),
        "opacity": DEFAULT_OPACITY,
        "entries": entries,
        "examples": examples_of_classes(gallery.entries, len(names)),
        "right_images_of_class": right_images_of_class(len(names)),
    }


def describe_run(run: Run, data_name: str) -> list[tuple[str, str]]:
    """Return the facts of a run's summary as pairs of a term and its description."""
    results, environment = run.results if run.is_finished else {}, run.environment
    hardware, sizes = environment.get("hardware", {}), run.data.get("num_images", {})
    versions = environment.get("versions", {})
    facts = {
        "recipe": f"{run.recipe.name}: network {run.recipe.network.name}, epochs {run.recipe.max_epochs}, "
        f"batch size {run.recipe.batch_size}, seed {run.recipe.seed}",
        "data": f"{data_name}; images: " + ", ".join(f"{count:,} {split}" for split, count in sizes.items()),
        "test accuracy with tta": _percent(results.get("test_acc_tta"), f" (views: {run.recipe.views})"),
        "test loss": _number(results.get("test_loss")),
        "validation accuracy": _percent(results.get("val_acc")),
        "training time": duration(results["train_s"]) if "train_s" in results else "",
        "total time": duration(results["total_s"]) if "total_s" in results else "",
        "hardware": str(hardware.get("gpu") or f"{hardware.get('cpu')}, {hardware.get('cpu_cores')} cores"),
        "versions": ", ".join(f"{name} {version}" for name, version in versions.items()),
        "commit": str(environment.get("commit") or ""),
        "date": str(environment.get("date", "")),
    }
    return [(term, text) for term, text in facts.items() if text]


def _percent(value: float | None, suffix: str = "") -> str:
    return "" if value is None else f"{value:.2%}{suffix}"


def _number(value: float | None, digits: int = 4) -> str:
    return "" if value is None else f"{value:,.{digits}f}"


def _charts(run: Run, predictions: Predictions) -> list[dict[str, Any]]:
    """Return the charts of the summary: loss and accuracy of each epoch if they are known, and calibration."""
    charts = []
    path = run.path / "metrics.csv"
    columns: Mapping[str, Sequence[float | None]] = read_metrics(path) if path.is_file() else {}
    for quantity, title in (("loss", "Loss"), ("acc", "Accuracy")):
        series = {split: columns.get(f"{split}_{quantity}", []) for split in ("train", "val")}
        if any(value is not None for values in series.values() for value in values):
            charts.append(line_chart(title, "epoch", series, is_share=quantity == "acc"))
    bins = reliability(predictions.probabilities(run.temperature), predictions.labels)
    charts.append(bar_chart("Calibration", "confidence", "accuracy", bins.accuracy.tolist(), bins.counts.tolist()))
    return charts


def most_confused_classes(matrix: Int64[Tensor, "k k"]) -> list[int]:
    """Return the labels of the confusion matrix on the page: all, or of many classes those with the most mistakes.

    Args:
        matrix: Number of images by true class (row) and predicted class (column), int64 [k k].

    >>> import torch
    >>> most_confused_classes(torch.tensor([[3, 1], [0, 4]]))
    [0, 1]
    """
    num_mistakes = matrix.sum(dim=0) + matrix.sum(dim=1) - 2 * matrix.diagonal()
    return sorted(num_mistakes.argsort(descending=True, stable=True)[:MAX_MATRIX_CLASSES].tolist())


def _matrix_rows(matrix: Int64[Tensor, "k k"], labels: Sequence[int], names: Sequence[str]) -> list[dict[str, Any]]:
    """Return the rows of the confusion matrix for the template, each cell with its link."""
    rows = []
    for true in labels:
        support, cells = max(int(matrix[true].sum()), 1), []
        for predicted in labels:
            count = int(matrix[true, predicted])
            link = "#" + urlencode({"true": names[true], "predicted": names[predicted]}, quote_via=quote)
            share = round(count / support, 4)
            kind = "right" if true == predicted else "wrong"
            cells.append({"count": count, "share": share, "predicted": names[predicted], "kind": kind, "link": link})
        rows.append({"name": names[true], "cells": cells})
    return rows


def _trust_rows(rows: Sequence[Faithfulness]) -> list[dict[str, Any]]:
    """Return the rows of the table of faithfulness: the metrics as text, and those that are not better than noise."""
    return [
        {
            "stage": row.stage,
            "method": row.method,
            "values": [_number(getattr(row, name), digits=3) for name in METRICS],
            "failed": [] if row.method == RANDOM else not_better_than_noise(row, rows),
        }
        for row in rows
    ]


def _palette() -> list[list[int]]:
    """Return colours of the overlay's colour map at equal distances, RGB 0 to 255."""
    colours = matplotlib.colormaps[COLOUR_MAP](np.linspace(0, 1, PALETTE_SIZE))[:, :3]
    return (colours * 255).round().astype(int).tolist()
