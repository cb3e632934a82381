"""The reliability diagram: bars as high as the accuracies, empty bins left out."""

from __future__ import annotations

import numpy as np

from firstlight.plots.reliability_diagram import reliability_figure


def test_bars_are_accuracies_and_counts():
    accuracy, confidence = np.array([np.nan, 0.25, 1.0]), np.array([np.nan, 0.5, 0.9])
    figure = reliability_figure(accuracy, confidence, np.array([0, 4, 7]), "three bins")
    upper, lower = figure.axes
    assert [bar.get_height() for bar in upper.patches] == [0, 0.25, 1.0]
    assert [bar.get_height() for bar in lower.patches] == [0, 4, 7]
    assert upper.patches[1].get_x() > 1 / 3
    assert figure.get_suptitle() == "three bins"
