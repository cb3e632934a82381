"""The figure of a confusion matrix: its numbers, and that every name is whole and inside the figure."""

from __future__ import annotations

import numpy as np
import pytest

from firstlight.plots.confusion_matrix import MAX_CLASSES_WITH_ZEROS, confusion_figure

LONG = "a <b>name</b> of $x$ " + "w" * 180


@pytest.mark.parametrize("names", [["cat", "dog"], [LONG, "dog"]])
def test_texts_are_complete_inside_the_figure_and_do_not_overlap(names):
    figure = confusion_figure(
        np.array([[12345, 3], [0, 1]]), names, "a title that is wider than the matrix of two classes"
    )
    figure.canvas.draw()
    axes = figure.axes[0]
    labels = [*axes.get_xticklabels(), *axes.get_yticklabels()]
    assert ["".join(label.get_text().split()) for label in labels] == ["".join(name.split()) for name in names * 2]
    texts = [*labels, *axes.texts, figure._suptitle, axes.xaxis.label, axes.yaxis.label]
    boxes = [text.get_window_extent() for text in texts]
    for text, box in zip(texts, boxes, strict=True):
        assert box.x0 >= 0, text
        assert box.y0 >= 0, text
        assert box.x1 <= figure.bbox.x1, text
        assert box.y1 <= figure.bbox.y1, text
    for position, box in enumerate(boxes):
        assert not any(box.padded(-1).overlaps(other.padded(-1)) for other in boxes[position + 1 :]), texts[position]


def test_every_cell_has_its_count_on_a_light_colour():
    counts = np.array([[900, 0, 100], [1, 9, 0], [0, 0, 0]])
    axes = confusion_figure(counts, ["a", "b", "c"], "three").axes[0]
    assert [text.get_text() for text in axes.texts] == [str(count) for count in counts.ravel()]
    colours = np.asarray(axes.images[0].get_array())
    luminance = colours @ [0.2126, 0.7152, 0.0722]
    assert luminance.min() > 0.55, "dark text stays readable"
    assert (colours[2] == 1).all(), "a class without images has white cells"


def test_large_matrices_leave_zeros_out():
    size = MAX_CLASSES_WITH_ZEROS + 1
    axes = confusion_figure(np.eye(size, dtype=np.int64), [str(i) for i in range(size)], "many").axes[0]
    assert len(axes.texts) == size
