"""Class metrics of a run: entries of `results.json`, files in the run folder, and a table for the terminal."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table

from firstlight.evaluation.calibration_error import calibration_error, reliability
from firstlight.evaluation.class_metrics import brier_score, class_metrics, top_k_accuracy
from firstlight.evaluation.confusion import confusion
from firstlight.evaluation.intervals import wilson_interval
from firstlight.evaluation.predictions import Predictions
from firstlight.files import write_atomic
from firstlight.plots.confusion_matrix import confusion_figure
from firstlight.plots.figure import Figure, save_figure
from firstlight.plots.reliability_diagram import reliability_figure
from firstlight.runs.run import Run

TOP_KS = (2, 3, 5)
MEANS = ("precision", "recall", "f1")
MAX_CLASSES = 100  # of the confusion figure; `confusion.csv` has all
MAX_ROWS = 20  # classes in the table; `results.json` has all


def class_results(predictions: Predictions, class_names: Sequence[str], temperature: float = 1.0) -> dict[str, Any]:
    """Return the class metrics of test predictions, as `results.json` stores them.

    Args:
        predictions: Predictions for the test images.
        class_names: Name of each class.
        temperature: Temperature by which logits are divided; it changes `test_ece` and `test_brier` only.

    Returns:
        `test_acc_interval`, the 95 % Wilson interval of the accuracy; `test_top_k_acc`, accuracy by k;
        `test_ece` and `test_brier`; `test_macro` and `test_weighted`, means of precision, recall and F1; and
        `classes`, a list with name, precision, recall, F1 and support of each class. Empty if there are no images.
    """
    if not len(predictions):
        return {}
    metrics = class_metrics(confusion(predictions.labels, predictions.predicted, len(class_names)))
    probabilities = predictions.probabilities(temperature)
    num_right = int((predictions.predicted == predictions.labels).sum())
    ks = [k for k in TOP_KS if k < len(class_names)]
    columns = (*(getattr(metrics, name).tolist() for name in MEANS), metrics.support.tolist())
    return {
        "test_acc_interval": list(wilson_interval(num_right, len(predictions))),
        "test_top_k_acc": {
            str(k): acc for k, acc in top_k_accuracy(predictions.logits, predictions.labels, ks).items()
        },
        "test_ece": calibration_error(probabilities, predictions.labels),
        "test_brier": brier_score(probabilities, predictions.labels),
        "test_macro": metrics.macro(),
        "test_weighted": metrics.weighted(),
        "classes": [
            dict(zip(("name", *MEANS, "support"), row, strict=True)) for row in zip(class_names, *columns, strict=True)
        ],
    }


def save_class_report(run: Run, predictions: Predictions, folder: Path | None = None) -> dict[str, Any]:
    """Write `confusion.csv`, `confusion.png` and `reliability.png`.

    More than 100 classes have no `confusion.png`, which would be too large for an image.

    Args:
        run: Run with saved weights.
        predictions: Predictions of the run for labelled images.
        folder: Folder of the files; None for the run folder.

    Returns:
        The class metrics; see `class_results`.
    """
    folder = folder or run.path
    results = class_results(predictions, run.class_names, run.temperature)
    if results:
        write_atomic(folder / "confusion.csv", confusion_csv(predictions, run.class_names))
        if has_confusion_figure(predictions, run.class_names):
            save_figure(draw_confusion(run.recipe.name, predictions, run.class_names), folder / "confusion.png")
        title = f"{run.recipe.name}: calibration, ECE {results['test_ece']:.2%}"
        save_figure(draw_reliability(predictions, run.temperature, title), folder / "reliability.png")
    return results


def has_confusion_figure(predictions: Predictions, class_names: Sequence[str]) -> bool:
    """Return whether there are images, and few enough classes for a figure of the confusion matrix."""
    return len(predictions) > 0 and len(class_names) <= MAX_CLASSES


def confusion_csv(predictions: Predictions, class_names: Sequence[str]) -> str:
    """Return the confusion matrix as CSV: a row for each true class, a column for each predicted class."""
    matrix = confusion(predictions.labels, predictions.predicted, len(class_names)).tolist()
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["true class", *class_names])
    writer.writerows([name, *row] for name, row in zip(class_names, matrix, strict=True))
    return stream.getvalue()


def draw_confusion(name: str, predictions: Predictions, class_names: Sequence[str]) -> Figure:
    """Draw the confusion matrix of a run.

    Args:
        name: Name of the run, for the title.
        predictions: Predictions for the test images.
        class_names: Name of each class.
    """
    matrix = confusion(predictions.labels, predictions.predicted, len(class_names))
    title = f"{name}: {predictions.accuracy:.2%} of {len(predictions):,} test images"
    return confusion_figure(matrix.numpy(), class_names, title)


def draw_reliability(predictions: Predictions, temperature: float, title: str) -> Figure:
    """Draw the reliability diagram of a run.

    Args:
        predictions: Predictions for the test images.
        temperature: Temperature by which logits are divided.
        title: Title of the figure.
    """
    bins = reliability(predictions.probabilities(temperature), predictions.labels)
    return reliability_figure(bins.accuracy.numpy(), bins.confidence.numpy(), bins.counts.numpy(), title)


def class_table(results: Mapping[str, Any]) -> Table:
    """Return a table of the class metrics for the terminal; of more than 20 classes, those with the lowest F1.

    Args:
        results: Class metrics from `class_results`.
    """
    classes = results["classes"]
    title = "test metrics of each class"
    if len(classes) > MAX_ROWS:
        title = f"test metrics of the {MAX_ROWS} classes with the lowest F1, of {len(classes)}"
        classes = sorted(classes, key=lambda row: row["f1"])[:MAX_ROWS]
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, show_edge=False)
    table.add_column("class", overflow="fold")
    for heading in (*MEANS, "images"):
        table.add_column(heading, justify="right")
    for row in classes:
        table.add_row(row["name"], *(f"{row[name]:.2%}" for name in MEANS), f"{row['support']:,}")
    table.add_section()
    for name in ("macro", "weighted"):
        table.add_row(f"{name} mean", *(f"{results[f'test_{name}'][mean]:.2%}" for mean in MEANS), "")
    return table


def class_summary(results: Mapping[str, Any]) -> str:
    """Return one line: the interval of the accuracy, top-k accuracies and calibration.

    Args:
        results: Class metrics from `class_results`.
    """
    low, high = results["test_acc_interval"]
    top = "".join(f", top-{k} {accuracy:.2%}" for k, accuracy in results["test_top_k_acc"].items())
    calibration = f"ECE {results['test_ece']:.2%}, Brier score {results['test_brier']:.4f}"
    return f"test accuracy, 95 % interval: {low:.2%} to {high:.2%}{top}; {calibration}"
