"""The sheet of images with their labels."""

from __future__ import annotations

import numpy as np
import pytest

from firstlight.plots.samples import sample_sheet
from reference.legible import assert_legible


def noise(count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 3, 8, 8), dtype=np.uint8)


def test_every_image_is_drawn_unchanged_with_its_label() -> None:
    """The rendered page has every image in whole dots, row by row, with its label below."""
    figure = sample_sheet(noise(5), list("abcde"), "five", num_columns=3)
    figure.canvas.draw()
    page = np.asarray(figure.canvas.buffer_rgba())[:, :, :3]
    (axes,) = figure.axes
    positions = []
    for image, pixels, text in zip(axes.images, noise(5), axes.texts, strict=True):
        box = image.get_window_extent()
        left, top, scale = round(box.x0), round(page.shape[0] - box.y1), round(box.width) // 8
        found = page[top : top + 8 * scale, left : left + 8 * scale]
        assert np.array_equal(found, pixels.transpose(1, 2, 0).repeat(scale, 0).repeat(scale, 1))
        label = text.get_window_extent()
        assert (label.x0 + label.x1) / 2 == pytest.approx((box.x0 + box.x1) / 2, abs=1)
        assert 0 <= box.y0 - label.y1 < 20
        positions.append((top, left))
    assert positions == sorted(positions)
    assert [len({position[axis] for position in positions}) for axis in (0, 1)] == [2, 3]
    assert [text.get_text() for text in axes.texts] == list("abcde")


@pytest.mark.parametrize("count", [1, 2, 10])
def test_all_texts_are_legible(count: int) -> None:
    labels = ["five-pointed star", "an uncommonly long label", "WWWWWWWWWWWWWWWW", "six-pointed star", "cat"] * 2
    assert_legible(sample_sheet(noise(count), labels[:count], "CIFAR-10 train: random samples"))


def test_only_a_label_wider_than_its_image_is_cut() -> None:
    figure = sample_sheet(noise(2), ["five-pointed star", "an uncommonly long label"], "two")
    whole, cut = (text.get_text() for text in figure.axes[0].texts)
    assert whole == "five-pointed star"
    assert cut.endswith("…")
    assert "an uncommonly long label".startswith(cut.rstrip("…"))
