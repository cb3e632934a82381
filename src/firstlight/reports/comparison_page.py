"""`compare.html`: the page of a comparison of runs. It needs no server, no network and no JavaScript."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from firstlight.attribution import DEFAULT_METHOD, explain
from firstlight.data.batches import to_unit
from firstlight.data.images import ImageSet
from firstlight.evaluation.comparison import METRICS, Metric
from firstlight.files import write_atomic
from firstlight.plots.overlay import has_evidence, overlay
from firstlight.reports.compared_groups import (
    METRIC_NAMES,
    PairComparison,
    RunGroup,
    difference_texts,
    p_value_text,
    points,
)
from firstlight.reports.html.rendering import image_uri, render_page
from firstlight.reports.run_comparison import RunComparison
from firstlight.reports.run_report import check_predictions
from firstlight.runs.run import Run

FILE_NAME = "compare.html"
MAX_IMAGES = 24  # images that one run gets right and another wrong, for each pair of runs and direction
MAX_PAIRS = 6  # pairs of runs whose images are shown
MAP_PX = 96  # longer side to which small images are enlarged before a smooth map is laid over them
WHISKER_HALF = 72  # half of the largest width of a drawn interval, in the units of the SVG


@dataclass(frozen=True, eq=False)
class _Shown:
    """The run whose images and maps stand for its group."""

    name: str
    run: Run


def write_comparison(
    comparison: RunComparison,
    images: ImageSet,
    path: Path,
    *,
    method: str = DEFAULT_METHOD,
    max_images: int = MAX_IMAGES,
) -> Path:
    """Write the page of a comparison: one HTML file.

    Args:
        comparison: Comparison of runs.
        images: Test images of the runs.
        path: File to write.
        method: Attribution method of the maps.
        max_images: Largest number of images for each pair of runs and direction.

    Returns:
        The path of the file.

    Raises:
        RunError: The predictions of the runs are not for these images.
        UsageError: No method has that name.
    """
    check_predictions(comparison.groups[0].runs[0], images)
    write_atomic(path, render_comparison(comparison, images, method, max_images))
    return path


def render_comparison(comparison: RunComparison, images: ImageSet, method: str, max_images: int) -> str:
    """Return the page as HTML.

    Args:
        comparison: Comparison of runs.
        images: Test images of the runs.
        method: Attribution method of the maps.
        max_images: Largest number of images for each pair of runs and direction.
    """
    shown = [_Shown(group.letter + ("1" if len(group.runs) > 1 else ""), group.runs[0]) for group in comparison.groups]
    shown_pairs = [(right, wrong) for pair in combinations(shown, 2) for right, wrong in (pair, pair[::-1])]
    galleries = [_gallery(*pair, images, method, max_images) for pair in shown_pairs[: 2 * MAX_PAIRS]]
    data_name = str(comparison.groups[0].runs[0].data["name"])
    return render_page(
        "compare.html.j2",
        "scroll_hint.js",
        ("report.css", "compare.css"),
        data=None,
        title=f"{len(comparison.runs)} runs compared on {data_name}",
        data_name=data_name,
        num_images=len(images),
        has_groups=any(len(group.runs) > 1 for group in comparison.groups),
        groups=comparison.groups,
        rows=[row for group in comparison.groups for row in _run_rows(group)],
        pairs=[_pair(pair) for pair in comparison.pairs],
        names=[name for name, _ in comparison.runs],
        agreement=_shades(comparison.agreement),
        galleries=galleries,
        num_left_out=len(shown_pairs) - len(galleries),
        method=method,
    )


def _run_rows(group: RunGroup) -> list[dict[str, Any]]:
    """Return the rows of the table of runs: one for the group, and one for each run if there are several."""
    means: dict[str, Any] = {metric: summary.mean for metric, summary in group.summaries.items()}
    head = means | {
        "is_group": len(group.runs) > 1,
        "name": group.letter,
        "text": group.name if len(group.runs) > 1 else _short(group.runs[0].path),
        "path": None if len(group.runs) > 1 else str(group.runs[0].path),
        "interval": group.interval,
        "deviation": group.summaries["accuracy"].deviation,
        "seed": f"{len(group.runs)} seeds" if len(group.runs) > 1 else group.runs[0].recipe.seed,
    }
    if len(group.runs) == 1:
        return [head]
    rows = [head]
    for number, (run, scores) in enumerate(zip(group.runs, group.scores, strict=True), 1):
        values: dict[str, Any] = {metric: scores.value(metric) for metric in METRICS}
        names = {"name": f"{group.letter}{number}", "text": _short(run.path), "path": str(run.path)}
        rows.append(values | names | {"seed": run.recipe.seed, "is_group": False, "interval": None, "deviation": None})
    return rows


def _short(path: Path) -> str:
    return "/".join(path.absolute().parts[-2:])


def _pair(pair: PairComparison) -> dict[str, Any]:
    """Return the texts of a pair for the template."""
    seeds = pair.seeds and {
        "value": points(pair.seeds.difference),
        "low": points(pair.seeds.interval[0]),
        "high": points(pair.seeds.interval[1]),
        "p": p_value_text(pair.seeds.p_value),
    }
    return {
        "first": pair.first,
        "second": pair.second,
        "verdict": pair.verdict,
        "mcnemar": pair.mcnemar,
        "seeds": pair.seeds,
        "p_text": p_value_text(pair.p_value),
        "seed_text": seeds,
        "rows": [_difference_row(pair, metric) for metric in METRICS],
    }


def _difference_row(pair: PairComparison, metric: Metric) -> dict[str, Any]:
    found = pair.differences[metric]
    value, interval = difference_texts(metric, found)
    second_is_better = (found.value > 0) == (metric == "accuracy")
    largest = max(abs(value) for value in (found.value, *found.interval)) or 1.0
    positions = [round(80 + WHISKER_HALF * value / largest, 1) for value in (*found.interval, found.value)]
    return {
        "name": METRIC_NAMES[metric],
        "value": value,
        "interval": interval,
        "is_clear": pair.is_clear(metric),
        "better": (pair.second if second_is_better else pair.first).letter if pair.is_clear(metric) else None,
        "x": (positions[0], positions[2], positions[1]),
    }


def _shades(agreement: Sequence[Sequence[float]]) -> list[list[dict[str, float]]]:
    """Return the agreement matrix with a colour weight in each cell, from 0 (least agreement) to 1 (100 %)."""
    least = min(min(row) for row in agreement)
    scale = (1 - least) or 1.0
    return [[{"value": value, "weight": round((value - least) / scale, 3)} for value in row] for row in agreement]


def _gallery(right: _Shown, wrong: _Shown, images: ImageSet, method: str, max_images: int) -> dict[str, Any]:
    """Return the cards of the images that one run gets right and the other wrong, the most confident mistakes first."""
    first, second = right.run.predictions, wrong.run.predictions
    rows = ((first.predicted == first.labels) & (second.predicted != second.labels)).nonzero().flatten()
    confidence = second.probabilities(wrong.run.temperature).amax(dim=1)
    rows = rows[confidence[rows].argsort(descending=True, stable=True)]
    chosen = rows[:max_images]
    views = [_views(each, images, chosen, method) for each in (right, wrong)]
    names = images.class_names
    cards = []
    for position, row in enumerate(chosen.tolist()):
        cards.append(
            {
                "index": int(images.ids[row]),
                "true": names[int(images.labels[row])],
                "file": None if images.file_names is None else images.file_names[row],
                "image": image_uri(images.image_at(row).numpy()),
                "views": [views[0][position] | {"kind": "right"}, views[1][position] | {"kind": "wrong"}],
            }
        )
    return {"right": right.name, "wrong": wrong.name, "count": len(rows), "cards": cards}


def _views(shown: _Shown, images: ImageSet, rows: Tensor, method: str) -> list[dict[str, Any]]:
    """Return a run's prediction and map for each image."""
    if not len(rows):
        return []
    predictions, run = shown.run.predictions, shown.run
    predicted = predictions.predicted[rows]
    confidence = predictions.probabilities(run.temperature).amax(dim=1)[rows]
    scale = max(1, round(MAP_PX / max(images.size_px)))
    size = (images.size_px[0] * scale, images.size_px[1] * scale)
    maps = explain(run.network, to_unit(images[rows].images), method=method, target=predicted).upsampled(size).numpy()
    enlarged = np.kron(images[rows].images.numpy(), np.ones((1, 1, scale, scale), dtype=np.uint8))
    return [
        {
            "name": shown.name,
            "predicted": images.class_names[int(label)],
            "confidence": f"{100 * float(share):.1f}\u00a0%",
            "map": image_uri(overlay(pixels, evidence).transpose(2, 0, 1)) if has_evidence(evidence) else None,
        }
        for label, share, pixels, evidence in zip(predicted, confidence, enlarged, maps, strict=True)
    ]
