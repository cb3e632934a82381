"""The page of a run's report: its findings become the variables of the template and the data of the script."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

import matplotlib
import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor

from firstlight.attribution import Faithfulness
from firstlight.data.images import ImageSet
from firstlight.durations import duration
from firstlight.evaluation.calibration_error import reliability
from firstlight.evaluation.confusion import confusion
from firstlight.evaluation.predictions import Predictions
from firstlight.evaluation.slices import Slice
from firstlight.plots.overlay import COLOUR_MAP, DEFAULT_OPACITY
from firstlight.reports.class_report import class_results
from firstlight.reports.feature_map import FeatureMap
from firstlight.reports.gallery import Gallery, examples_of_classes, max_correct_of_class
from firstlight.reports.html.charts import bar_chart, line_chart
from firstlight.reports.html.rendering import image_uri, render_page
from firstlight.reports.sampled_maps import SampledMaps
from firstlight.reports.shortcuts import Shortcut
from firstlight.reports.training_evidence import TrainingEvidence
from firstlight.reports.trust import RANDOM, MapChoice, load_trust, not_better_than_noise
from firstlight.runs.epoch_metrics import read_metrics
from firstlight.runs.run import Run

METRICS = ("deletion", "insertion", "energy_inside", "pointing", "randomization")
NUM_STATIC = 24  # mistakes that a browser without JavaScript shows
PALETTE_SIZE = 32
MAX_MATRIX_CLASSES = 100  # rows and columns of the confusion matrix on the page
SCRIPTS = ("sprites.js", "report.js", "feature_map.js", "scroll_hint.js")


@dataclass(frozen=True, eq=False)
class Findings:
    """What a report shows of a run.

    Args:
        predictions: Predictions for the test images.
        choice: Method and stage of the maps, and the reason for this choice.
        gallery: Images with their maps.
        slices: Weak slices, from `find_weak_slices`.
        sampled: Maps of a sample of the test images.
        shortcuts: Confirmed shortcuts.
        training: Training images that explain the mistakes of the gallery; None if they were not searched.
        feature_map: Map of the test images; None if the predictions have no features.
    """

    predictions: Predictions
    choice: MapChoice
    gallery: Gallery
    slices: Sequence[Slice]
    sampled: SampledMaps
    shortcuts: Sequence[Shortcut]
    training: TrainingEvidence | None
    feature_map: FeatureMap | None


def render_report(run: Run, images: ImageSet, findings: Findings, train: ImageSet | None = None) -> str:
    """Return the report as HTML.

    Args:
        run: Finished run.
        images: Test images.
        findings: What the report shows.
        train: Training images; a browser without JavaScript shows those that are nearest to a mistake.
    """
    names, predictions, gallery = run.class_names, findings.predictions, findings.gallery
    matrix = confusion(predictions.labels, predictions.predicted, len(names))
    labels = most_confused_classes(matrix)
    num_right = int(matrix.trace())
    return render_page(
        "report.html.j2",
        SCRIPTS,
        "report.css",
        _script_data(names, matrix, labels, findings),
        title=f"{run.recipe.name} on {images.name}",
        num_images=len(predictions),
        num_right=num_right,
        num_wrong=len(predictions) - num_right,
        num_mistakes_shown=gallery.num_mistakes,
        metrics=class_results(predictions, names, run.temperature),
        facts=describe_run(run, images.name),
        charts=_charts(run, predictions),
        rows=_matrix_rows(matrix, labels, names),
        matrix_names=[names[label] for label in labels],
        names=names,
        slices=findings.slices,
        method=findings.choice.method,
        stage=gallery.stage,
        reason=findings.choice.reason,
        trust=_trust_rows(load_trust(run)),
        mean_maps=[_mean_map(findings.sampled, label) for label in range(len(names))],
        num_sampled=len(findings.sampled.rows),
        sampled_maps=f"{findings.sampled.method} at stage {findings.sampled.stage}",
        shortcuts=[_describe_shortcut(each, images, names) for each in findings.shortcuts],
        num_training=findings.training and findings.training.num_images,
        feature_map=findings.feature_map,
        static_entries=_static_entries(findings, train),
    )


def _static_entries(findings: Findings, train: ImageSet | None) -> list[dict[str, Any]]:
    """Return the entries that a browser without JavaScript shows, with their nearest training images as pictures."""
    entries = findings.gallery.entries[: min(NUM_STATIC, findings.gallery.num_mistakes)]
    evidence = findings.training
    if evidence is None or train is None:
        return [entry | {"nearest": []} for entry in entries]
    return [
        entry | {"nearest": [_neighbour(evidence, train, *pair) for pair in found["nearest"]]}
        for entry, found in zip(entries, evidence.entries, strict=False)
    ]


def _neighbour(evidence: TrainingEvidence, train: ImageSet, position: int, distance: float) -> dict[str, Any]:
    picture = image_uri(train.image_at(int(evidence.rows[position])).numpy())
    return evidence.thumbnails[position] | {"distance": distance, "image": picture}


def _mean_map(sampled: SampledMaps, label: int) -> str | None:
    """Return a class's mean map as a data URI with one pixel per position; None if no image is predicted so."""
    mean = sampled.mean_of(label)
    if mean is None:
        return None
    share = (mean.clamp(min=0) / mean.abs().max().clamp(min=1e-12)).numpy()
    colours = matplotlib.colormaps[COLOUR_MAP](share)[:, :, :3] * 255
    return image_uri(colours.round().astype(np.uint8).transpose(2, 0, 1))


def _describe_shortcut(shortcut: Shortcut, images: ImageSet, names: Sequence[str]) -> dict[str, Any]:
    """Return the variables of the template for a shortcut."""
    columns, changed = shortcut.columns, shortcut.changed_of_class
    return {
        "name": names[shortcut.peaks.label],
        "position": _position(shortcut.row, shortcut.rows, shortcut.column, shortcut.columns),
        "finding": shortcut,
        "grid": [changed[start : start + columns] for start in range(0, len(changed), columns)],
        "box": {
            "top": 100 * shortcut.row / shortcut.rows,
            "left": 100 * shortcut.column / columns,
            "height": 100 / shortcut.rows,
            "width": 100 / columns,
        },
        "examples": [
            {"index": int(images.ids[row]), "true": names[int(images.labels[row])], "image": image_uri(picture.numpy())}
            for row, picture in zip(shortcut.examples, images[torch.tensor(shortcut.examples)].images, strict=True)
        ],
    }


def _position(row: int, rows: int, column: int, columns: int) -> str:
    """Return a cell's position in words.

    >>> _position(3, 4, 3, 4), _position(1, 3, 1, 3), _position(0, 4, 1, 4)
    ('lower right corner', 'centre', 'row 1 of 4, column 2 of 4')
    """
    vertical = {0: "upper", rows - 1: "lower"}.get(row)
    horizontal = {0: "left", columns - 1: "right"}.get(column)
    if vertical and horizontal:
        return f"{vertical} {horizontal} corner"
    if (2 * row + 1, 2 * column + 1) == (rows, columns):
        return "centre"
    return f"row {row + 1} of {rows}, column {column + 1} of {columns}"


def _script_data(
    names: Sequence[str], matrix: Int64[Tensor, "k k"], matrix_labels: list[int], findings: Findings
) -> dict[str, Any]:
    """Return the data of the page's script; each entry lists the slices to which its image belongs."""
    gallery, feature_map, training = findings.gallery, findings.feature_map, findings.training
    rows = {int(index): row for row, index in enumerate(findings.predictions.ids)}
    entries = [
        entry
        | {"slices": [number for number, each in enumerate(findings.slices) if each.members[rows[entry["index"]]]]}
        for entry in gallery.entries
    ]
    for entry, evidence in zip(entries, [] if training is None else training.entries, strict=False):
        entry |= evidence
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
        "right_images_of_class": max_correct_of_class(len(names)),
        "training": training and {"images": training.thumbnails, "sprite": training.sprite.to_dict()},
        "feature_map": feature_map and {"points": feature_map.points, "sprite": feature_map.sprite.to_dict()},
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
    """Return the classes of the page's confusion matrix: all of them, or the 100 classes with the most mistakes.

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
    """Return the rows of the faithfulness table: the metrics as text, and the names of those no better than noise."""
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
