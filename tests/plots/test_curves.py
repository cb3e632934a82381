"""Learning curves: a point per epoch, and gaps for missing values."""

from __future__ import annotations

import numpy as np
import pytest

from firstlight.plots.curves import learning_curves

COLUMNS = {
    "epoch": [0.0, 1.0, 2.0],
    "train_loss": [2.0, 1.0, 0.5],
    "train_acc": [0.2, 0.5, 0.9],
    "val_loss": [None, 1.5, None],
    "val_acc": [None, 0.4, 0.6],
}


def test_epochs_count_from_one_and_missing_values_leave_gaps() -> None:
    loss, accuracy = learning_curves(COLUMNS, "three epochs").axes
    drawn = {
        (axes.get_ylabel(), line.get_label()): line.get_xydata().tolist()
        for axes in (loss, accuracy)
        for line in axes.lines
    }
    assert drawn == {
        ("loss", "train"): [[1, 2.0], [2, 1.0], [3, 0.5]],
        ("loss", "val"): [[2, 1.5]],
        ("accuracy", "train"): [[1, 0.2], [2, 0.5], [3, 0.9]],
        ("accuracy", "val"): [[2, 0.4], [3, 0.6]],
    }
    assert [text.get_text() for text in loss.get_legend().get_texts()] == ["train", "val"]


@pytest.mark.parametrize("num_epochs", [1, 2, 24])
def test_ticks_are_whole_epochs_and_percent_and_nothing_is_cut_off(num_epochs: int) -> None:
    values = np.linspace(0.1, 0.9, num_epochs).tolist()
    figure = learning_curves({"train_loss": values, "train_acc": values}, "a title")
    figure.draw_without_rendering()
    for axes in figure.axes:
        assert axes.get_xlabel() == "epoch"
        assert all(tick == round(tick) for tick in axes.get_xticks())
    assert all(text.get_text().endswith("%") for text in figure.axes[1].get_yticklabels())
    box, (width, height) = figure.get_tightbbox(), figure.get_size_inches()
    assert box.x0 >= 0
    assert box.y0 >= 0
    assert box.x1 <= width
    assert box.y1 <= height


@pytest.mark.parametrize("columns", [{}, {"train_loss": [None], "val_acc": []}])
def test_a_training_without_a_whole_epoch_has_empty_axes(columns: dict[str, list[None]]) -> None:
    figure = learning_curves(columns, "nothing yet")
    figure.draw_without_rendering()
    assert [len(axes.lines) for axes in figure.axes] == [0, 0]
