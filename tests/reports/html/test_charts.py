"""Charts: coordinates by hand arithmetic."""

from __future__ import annotations

import math

import pytest

from firstlight.reports.html.charts import BOTTOM, LEFT, RIGHT, TOP, bar_chart, line_chart


def points(text: str) -> list[tuple[float, ...]]:
    return [tuple(map(float, pair.split(","))) for pair in text.split()]


def test_lines_span_the_plotting_area_and_leave_gaps_out():
    chart = line_chart("Loss", "epoch", {"train": [4.0, 2.0, 0.0], "val": [None, 2.0, None]})
    train, val = chart["lines"]
    assert points(train["points"]) == [(LEFT, TOP), ((LEFT + RIGHT) / 2, (TOP + BOTTOM) / 2), (RIGHT, BOTTOM)]
    assert points(val["points"]) == [((LEFT + RIGHT) / 2, (TOP + BOTTOM) / 2)]
    assert val["dots"], "a line of one point needs a dot"
    assert [text for _, text in chart["y_ticks"]] == ["0", "1", "2", "3", "4"]


@pytest.mark.parametrize("values", [[], [None], [0.5], [0.5, 0.5], [math.nan]])
def test_few_or_equal_values_are_accepted(values):
    chart = line_chart("Accuracy", "epoch", {"train": values}, is_share=True)
    for line in chart["lines"]:
        assert all(LEFT <= x <= RIGHT and TOP <= y <= BOTTOM for x, y in points(line["points"]))


def test_bars_are_as_high_as_their_shares():
    chart = bar_chart("Calibration", "confidence", "accuracy", [math.nan, 0.5], [0, 8])
    (bar,) = chart["bars"]
    assert bar["height"] == pytest.approx((BOTTOM - TOP) / 2)
    assert bar["x"] == pytest.approx((LEFT + RIGHT) / 2 + 0.5)
    assert bar["text"] == "confidence 50% to 100%: accuracy 50.0%, 8 images"
