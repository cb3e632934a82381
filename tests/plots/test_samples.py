"""The sheet of images with their labels."""

from __future__ import annotations

import numpy as np
import pytest

from firstlight.plots.samples import sample_sheet
from reference.legible import assert_legible


def noise(count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 3, 8, 8), dtype=np.uint8)


def test_every_image_is_drawn_as_it_is_with_its_label() -> None:
    figure = sample_sheet(noise(5), list("abcde"), "five", num_columns=3)
    drawn = [(np.asarray(axes.images[0].get_array()), axes.get_xlabel()) for axes in figure.axes if axes.images]
    assert [label for _, label in drawn] == list("abcde")
    assert np.array_equal(np.stack([pixels for pixels, _ in drawn]), noise(5).transpose(0, 2, 3, 1))
    assert all(axes.images[0].get_interpolation() == "nearest" for axes in figure.axes if axes.images)


@pytest.mark.parametrize("count", [1, 2, 10])
def test_all_texts_can_be_read(count: int) -> None:
    labels = ["five-pointed star", "an uncommonly long label", "WWWWWWWWWWWWWWWW", "six-pointed star", "cat"] * 2
    assert_legible(sample_sheet(noise(count), labels, "CIFAR-10 train: random samples"))


def test_only_a_label_wider_than_its_image_is_cut() -> None:
    figure = sample_sheet(noise(2), ["five-pointed star", "an uncommonly long label"], "two")
    whole, cut = (axes.get_xlabel() for axes in figure.axes)
    assert whole == "five-pointed star"
    assert cut.endswith("…")
    assert "an uncommonly long label".startswith(cut.rstrip("…"))
