"""Figures of a sweep: its accuracy over the trials, over each field, and all fields of a trial as one line."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, PercentFormatter

from firstlight.plots.figure import LABEL_SIZE, SMALL_SIZE, TITLE_SIZE, Figure, literal_text

COMPLETE, PRUNED, FIRST = "#2166ac", "#6b6b6b", "#b2182b"
COLOURS = "viridis"
MAX_COLUMNS = 3
Value = bool | int | float | str


@dataclass(frozen=True)
class Point:
    """One trial in a figure.

    Args:
        number: Number of the trial.
        is_recipe: Whether it is the recipe itself.
        accuracy: Accuracy in [0, 1].
        is_pruned: Whether it ended early.
        values: Value of each searched field that the trial has.
    """

    number: int
    is_recipe: bool
    accuracy: float
    is_pruned: bool
    values: Mapping[str, Value]


@dataclass(frozen=True)
class FieldAxis:
    """The scale of one searched field.

    Args:
        name: Name of the field.
        is_log: Whether its scale is logarithmic.
        choices: Its values if they are no numbers, in their order.
    """

    name: str
    is_log: bool = False
    choices: tuple[Value, ...] = field(default=())

    def position(self, value: Value) -> float:
        """Return where a value stands on the scale."""
        if self.choices:
            return float(self.choices.index(value))
        return math.log10(float(value)) if self.is_log else float(value)


@literal_text
def sweep_history(points: Sequence[Point], title: str) -> Figure:
    """Draw the accuracy of each trial in the order of the trials, and the best one so far.

    Args:
        points: The trials.
        title: Title of the figure.
    """
    figure = Figure(figsize=(7, 3.6))
    axes = figure.subplots()
    _scatter(axes, [point.number for point in points], points)
    complete = [point for point in points if not point.is_pruned]
    if complete:
        best = np.maximum.accumulate([point.accuracy for point in complete])
        axes.step([point.number for point in complete], best, where="post", color=COMPLETE, label="best so far")
    axes.set_title(title, fontsize=TITLE_SIZE)
    axes.set_xlabel("trial", fontsize=LABEL_SIZE)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    _add_legend(figure, axes)
    return figure


@literal_text
def sweep_slices(points: Sequence[Point], fields: Sequence[FieldAxis]) -> Figure:
    """Draw the accuracy of the trials over each searched field, one pair of axes each.

    Args:
        points: The trials.
        fields: The searched fields.
    """
    num_columns = min(MAX_COLUMNS, len(fields))
    num_rows = math.ceil(len(fields) / num_columns)
    figure = Figure(figsize=(7, 2.6 * num_rows + 0.2))
    grid = np.atleast_1d(figure.subplots(num_rows, num_columns, sharey=True, squeeze=False)).ravel()
    for axes, scale in zip(grid, fields, strict=False):
        shown = [point for point in points if scale.name in point.values]
        _scatter(axes, [scale.position(point.values[scale.name]) for point in shown], shown)
        _label_scale(axes, scale, [point.values[scale.name] for point in shown])
        axes.set_xlabel(scale.name, fontsize=LABEL_SIZE)
    for axes in grid[len(fields) :]:
        axes.set_visible(False)
    for axes in grid[: len(fields)]:
        axes.set_ylabel("")
    for row in range(num_rows):
        grid[row * num_columns].set_ylabel("validation accuracy", fontsize=LABEL_SIZE)
    _add_legend(figure, max(grid[: len(fields)], key=lambda axes: len(axes.collections)))
    return figure


@literal_text
def sweep_lines(points: Sequence[Point], fields: Sequence[FieldAxis]) -> Figure:
    """Draw each complete trial as a line through its values (parallel coordinates), coloured by its accuracy.

    Args:
        points: The trials.
        fields: The searched fields.
    """
    figure = Figure(figsize=(7, 3.6))
    axes = figure.subplots()
    shown = sorted((point for point in points if not point.is_pruned), key=lambda point: point.accuracy)
    accuracies = [point.accuracy for point in shown]
    low, high = (min(accuracies), max(accuracies)) if shown else (0.0, 1.0)
    colours = matplotlib.colormaps[COLOURS]
    for point in shown:
        present = [(column, scale) for column, scale in enumerate(fields) if scale.name in point.values]
        heights = [_height(scale, point.values[scale.name], points) for _, scale in present]
        colour = colours((point.accuracy - low) / (high - low or 1.0))
        axes.plot([column for column, _ in present], heights, color=colour, alpha=0.8, marker="o", markersize=3)
    for column, scale in enumerate(fields):
        ends = _ends(scale, points)
        for height, value in zip((0.0, 1.0), ends, strict=True):
            offset, vertical = (-4, "top") if height == 0 else (4, "bottom")
            axes.annotate(
                _text(value),
                (column, height),
                (0, offset),
                textcoords="offset points",
                ha="center",
                va=vertical,
                fontsize=SMALL_SIZE,
            )
    axes.set_xticks(range(len(fields)), [scale.name.replace(".", ".\n") for scale in fields], fontsize=SMALL_SIZE)
    axes.set_yticks([])
    axes.set_ylim(-0.15, 1.15)
    axes.set_xlim(-0.5, len(fields) - 0.5)
    axes.grid(axis="x", alpha=0.4)
    for spine in axes.spines.values():
        spine.set_visible(False)
    scale_of_colours = matplotlib.cm.ScalarMappable(matplotlib.colors.Normalize(low, high), colours)
    bar = figure.colorbar(scale_of_colours, ax=axes, format=PercentFormatter(1.0, decimals=1))
    bar.set_label("validation accuracy", fontsize=LABEL_SIZE)
    bar.ax.tick_params(labelsize=SMALL_SIZE)
    return figure


def _add_legend(figure: Figure, axes: Axes) -> None:
    """Explain the marks below the figure, where they cover no point."""
    marks, labels = axes.get_legend_handles_labels()
    figure.legend(marks, labels, loc="outside lower center", ncols=len(labels), fontsize=SMALL_SIZE, frameon=False)


def _scatter(axes: Axes, positions: Sequence[float | int], points: Sequence[Point]) -> None:
    """Draw the trials: complete, ended early, and the recipe itself."""
    pairs = list(zip(positions, points, strict=True))
    kinds = (
        ("ended early", PRUNED, "x", [pair for pair in pairs if pair[1].is_pruned and not pair[1].is_recipe]),
        ("complete", COMPLETE, "o", [pair for pair in pairs if not pair[1].is_pruned and not pair[1].is_recipe]),
        ("the recipe itself", FIRST, "D", [pair for pair in pairs if pair[1].is_recipe]),
    )
    for label, colour, marker, chosen in kinds:
        if chosen:
            heights = [point.accuracy for _, point in chosen]
            axes.scatter([x for x, _ in chosen], heights, s=22, color=colour, marker=marker, label=label, zorder=3)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.set_ylabel("validation accuracy", fontsize=LABEL_SIZE)
    axes.tick_params(labelsize=SMALL_SIZE)
    axes.grid(alpha=0.3)


def _label_scale(axes: Axes, scale: FieldAxis, values: Sequence[Value]) -> None:
    """Write the values of a field at its ticks."""
    if scale.choices:
        axes.set_xticks(range(len(scale.choices)), [_text(choice) for choice in scale.choices])
        axes.set_xlim(-0.5, len(scale.choices) - 0.5)
    elif scale.is_log and values:
        low, high = min(map(float, values)), max(map(float, values))
        ticks = sorted({low, math.sqrt(low * high), high})
        axes.set_xticks([math.log10(tick) for tick in ticks], [f"{tick:.2g}" for tick in ticks])
    else:
        axes.xaxis.set_major_locator(MaxNLocator(4))


def _ends(scale: FieldAxis, points: Sequence[Point]) -> tuple[Value, Value]:
    values = [point.values[scale.name] for point in points if scale.name in point.values]
    if scale.choices:
        return scale.choices[0], scale.choices[-1]
    return min(values, key=scale.position), max(values, key=scale.position)


def _height(scale: FieldAxis, value: Value, points: Sequence[Point]) -> float:
    low, high = (scale.position(end) for end in _ends(scale, points))
    return (scale.position(value) - low) / (high - low) if high > low else 0.5


def _text(value: Value) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
