"""Charts as SVG coordinates, which the template draws with the page's own colours."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

LEFT, RIGHT, TOP, BOTTOM = 44.0, 300.0, 12.0, 164.0  # edges of the plotting area; the drawing is 320 x 200
NUM_TICKS = 4


def line_chart(
    title: str, x_label: str, series: Mapping[str, Sequence[float | None]], *, is_share: bool = False
) -> dict[str, Any]:
    """Return a line chart of one or more series with a point for each epoch, counted from 1.

    The vertical axis contains 0, except for shares.

    Args:
        title: Title of the chart.
        x_label: Label of the horizontal axis.
        series: Values by name; None leaves a point out.
        is_share: Whether values are shares in [0, 1], to be written in percent.

    >>> chart = line_chart("Loss", "epoch", {"train": [2.0, 1.0]})
    >>> chart["lines"][0]["points"]
    '44.0,12.0 300.0,88.0'
    """
    points = {
        name: [(epoch, value) for epoch, value in enumerate(values, 1) if value is not None and math.isfinite(value)]
        for name, values in series.items()
    }
    values = [value for line in points.values() for _, value in line]
    num_epochs = max((epoch for line in points.values() for epoch, _ in line), default=1)
    low, high = min(values, default=0.0), max(values, default=1.0)
    if not is_share:
        low = min(low, 0.0)
    if low == high:
        low, high = low - 0.5, high + 0.5
    x_axis, y_axis = _Axis(1.0, float(num_epochs), LEFT, RIGHT), _Axis(low, high, BOTTOM, TOP)
    lines = []
    for name, line in points.items():
        if line:
            positions = [(x_axis.position(float(epoch)), y_axis.position(value)) for epoch, value in line]
            text = " ".join(f"{x},{y}" for x, y in positions)
            dots = positions if len(positions) == 1 else []  # a line of one point is invisible
            lines.append({"name": name, "points": text, "dots": dots, "last": _format(line[-1][1], is_share)})
    ticks = [low + (high - low) * index / NUM_TICKS for index in range(NUM_TICKS + 1)]
    return {
        "kind": "lines",
        "title": title,
        "x_label": x_label,
        "lines": lines,
        "bars": [],
        "y_ticks": [(y_axis.position(tick), _format(tick, is_share)) for tick in ticks],
        "x_ticks": [(LEFT, "1"), (RIGHT, f"{num_epochs:,}")] if num_epochs > 1 else [(LEFT, "1")],
    }


def bar_chart(
    title: str, x_label: str, y_label: str, heights: Sequence[float], counts: Sequence[int]
) -> dict[str, Any]:
    """Return a chart of shares in bins of equal width from 0 to 1, with the diagonal.

    Args:
        title: Title of the chart.
        x_label: Label of the horizontal axis.
        y_label: Name of the heights, for the description of each bar.
        heights: Height of each bin in [0, 1]; NaN leaves the bar out.
        counts: Number of images in each bin.
    """
    x_axis, y_axis = _Axis(0.0, 1.0, LEFT, RIGHT), _Axis(0.0, 1.0, BOTTOM, TOP)
    edges = [index / len(heights) for index in range(len(heights) + 1)]
    bars = []
    for low, high, height, count in zip(edges[:-1], edges[1:], heights, counts, strict=True):
        if count:
            left, right, top = x_axis.position(low), x_axis.position(high), y_axis.position(height)
            text = f"{x_label} {low:.0%} to {high:.0%}: {y_label} {height:.1%}, {count:,} images"
            size = {"width": round(right - left - 1, 1), "height": round(BOTTOM - top, 1)}
            bars.append({"x": round(left + 0.5, 1), "y": top, "text": text} | size)
    ticks = [index / NUM_TICKS for index in range(NUM_TICKS + 1)]
    return {
        "kind": "bars",
        "title": title,
        "x_label": x_label,
        "lines": [],
        "bars": bars,
        "y_ticks": [(y_axis.position(tick), f"{tick:.0%}") for tick in ticks],
        "x_ticks": [(x_axis.position(tick), f"{tick:.0%}") for tick in (0.0, 0.5, 1.0)],
    }


@dataclass(frozen=True)
class _Axis:
    """A linear map from values to coordinates."""

    low: float
    high: float
    start: float
    end: float

    def position(self, value: float) -> float:
        """Return the coordinate of a value."""
        if self.high == self.low:
            return self.start
        share = (value - self.low) / (self.high - self.low)
        return round(self.start + share * (self.end - self.start), 1)


def _format(value: float, is_share: bool) -> str:
    return f"{value:.1%}" if is_share else f"{value:.3g}"
