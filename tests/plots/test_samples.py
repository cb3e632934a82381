"""The sheet of samples: every image as it is, with its label, in rows."""

from __future__ import annotations

import numpy as np
import pytest

from firstlight.plots.samples import sample_sheet
from reference.layout import unreadable

NAMES = ("airplane", "five-pointed star", "a class with a very long name, as folders have them")


@pytest.mark.parametrize(("count", "num_columns"), [(1, 8), (3, 8), (8, 8), (11, 4)])
def test_every_image_has_its_label_and_all_of_it_can_be_read(count: int, num_columns: int) -> None:
    images = np.random.default_rng(0).integers(0, 256, (count, 3, 4, 5), dtype=np.uint8)
    labels = [NAMES[i % len(NAMES)] for i in range(count)]
    figure = sample_sheet(images, labels, "CIFAR-10 train: random samples", num_columns)
    assert unreadable(figure) == []
    shown = [axes for axes in figure.axes if axes.images]
    assert len(shown) == count
    for axes, image, label in zip(shown, images, labels, strict=True):
        np.testing.assert_array_equal(axes.images[0].get_array(), image.transpose(1, 2, 0))
        assert axes.images[0].get_interpolation() == "nearest"
        assert label.startswith(axes.get_xlabel().removesuffix("\N{HORIZONTAL ELLIPSIS}"))
    places = [(-round(axes.get_position().y0, 2), axes.get_position().x0) for axes in shown]
    assert places == sorted(places)
    assert len({x for _, x in places}) == min(count, num_columns)


def test_places_without_an_image_are_empty() -> None:
    figure = sample_sheet(np.zeros((3, 3, 4, 4), np.uint8), ["a", "b", "c"], "three", num_columns=2)
    empty = figure.axes[-1]
    assert not empty.images
    assert not any(spine.get_visible() for spine in empty.spines.values())
    assert len(empty.get_xticks()) == len(empty.get_yticks()) == 0
