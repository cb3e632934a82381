"""`sweep.html`: the page of a sweep, and its figures as PNG files. It needs no server."""

from __future__ import annotations

import base64
from pathlib import Path

from firstlight.files import write_atomic
from firstlight.plots.sweep_history import FieldAxis, Figure, Point, sweep_history, sweep_lines, sweep_slices
from firstlight.reports.html.rendering import render_page
from firstlight.sweeps.outcome import Outcome
from firstlight.sweeps.texts import fresh_lines, ranking_rows

FILE_NAME = "sweep.html"
MAX_ROWS = 20


def write_page(outcome: Outcome) -> Path:
    """Write the page and the figures into the folder of a sweep, and return the page's path.

    Args:
        outcome: The outcome.
    """
    figures = []
    for name, (figure, text) in figures_of(outcome).items():
        png = figure.png()
        write_atomic(outcome.path / f"{name}.png", png)
        figures.append({"uri": f"data:image/png;base64,{base64.b64encode(png).decode()}", "text": text})
    headings, rows = ranking_rows(outcome, MAX_ROWS)
    page = render_page(
        "sweep.html.j2",
        "scroll_hint.js",
        ("report.css", "compare.css"),
        data=None,
        title=f"Sweep of {outcome.recipe.name} on {outcome.recipe.data}",
        num_trials=len(outcome.trials),
        num_pruned=sum(trial.is_pruned for trial in outcome.trials),
        sentences=fresh_lines(outcome),
        headings=headings,
        rows=rows,
        importance=[(name, f"{share:.0%}") for name, share in outcome.importance.items()],
        figures=figures,
    )
    write_atomic(outcome.path / FILE_NAME, page)
    return outcome.path / FILE_NAME


def figures_of(outcome: Outcome) -> dict[str, tuple[Figure, str]]:
    """Return the figures of a sweep by name, each with the sentence that describes it; none without an accuracy.

    Args:
        outcome: The outcome.
    """
    points = [
        Point(trial.number, trial.is_recipe, trial.val_acc, trial.is_pruned, trial.values)
        for trial in outcome.trials
        if trial.val_acc is not None
    ]
    fields = _fields(points, outcome.log_fields)
    if not points or not fields:
        return {}
    return {
        "history": (
            sweep_history(points, f"{len(points)} trials of {outcome.recipe.name}"),
            "Validation accuracy of each trial, in their order. A trial that ended early has that of its last epoch.",
        ),
        "slices": (sweep_slices(points, fields), "Validation accuracy over the values of each searched field."),
        "lines": (
            sweep_lines(points, fields),
            "Each complete trial as a line through its values; the lighter the line, the higher its accuracy.",
        ),
    }


def _fields(points: list[Point], log_fields: frozenset[str]) -> list[FieldAxis]:
    """Return the scale of each field that some trial has."""
    found = []
    for name in dict.fromkeys(name for point in points for name in point.values):
        values = [point.values[name] for point in points if name in point.values]
        is_number = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
        choices = () if is_number else tuple(sorted(set(values), key=str))
        found.append(FieldAxis(name, is_number and name in log_fields, choices))
    return found
