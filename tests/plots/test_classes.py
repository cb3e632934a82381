"""The sheet with a row per class."""

from __future__ import annotations

import numpy as np
import pytest

from firstlight.plots.classes import class_sheet
from firstlight.plots.figure import Figure
from reference.legible import assert_legible

NAMES = ["cat", "five-pointed star", "a class with an uncommonly long name"]


def noise(count: int, height: int = 32, width: int = 32) -> np.ndarray:
    return np.random.default_rng(count).integers(0, 256, (count, 3, height, width), dtype=np.uint8)


def rendered(figure: Figure) -> np.ndarray:
    figure.canvas.draw()
    return np.asarray(figure.canvas.buffer_rgba())[:, :, :3]  # type: ignore[attr-defined]


def test_every_image_is_drawn_unchanged_in_the_row_of_its_class() -> None:
    rows = [noise(3), noise(1), noise(2)]
    (axes,) = class_sheet(rows, NAMES, "three classes").axes
    assert all(image.get_interpolation() == "nearest" for image in axes.images)
    drawn = [np.asarray(image.get_array()).transpose(2, 0, 1) for image in axes.images]
    assert np.array_equal(np.stack(drawn), np.concatenate(rows))
    middles = [(top + bottom) / 2 for _, _, bottom, top in (image.get_extent() for image in axes.images)]
    assert [middles.index(tick) for tick in axes.get_yticks()] == [0, 3, 4]
    assert [text.get_text() for text in axes.get_yticklabels()] == [
        "cat",
        "five-pointed star",
        "a class with an uncommonly lo…",
    ]


@pytest.mark.parametrize(("height", "width"), [(32, 32), (28, 20), (5, 9), (150, 150)])
def test_every_pixel_becomes_a_square_of_whole_dots(height: int, width: int) -> None:
    rows = [noise(2, height, width), noise(3, height, width)]
    figure = class_sheet(rows, NAMES[:2], "crisp")
    page = rendered(figure)
    images = iter(figure.axes[0].images)
    for image in np.concatenate(rows):
        box = next(images).get_window_extent()
        left, top = round(box.x0), round(page.shape[0] - box.y1)
        scale = round(box.width) // width
        found = page[top : top + height * scale, left : left + width * scale]
        assert np.array_equal(found, image.transpose(1, 2, 0).repeat(scale, 0).repeat(scale, 1))


@pytest.mark.parametrize("count", [1, 10])
def test_all_texts_are_legible(count: int) -> None:
    assert_legible(class_sheet([noise(count)] * 3, NAMES, "CIFAR-10 train: random samples of each class"))
    assert_legible(class_sheet([noise(1, 8, 8)], ["W" * 40], "narrow"))


def test_a_class_without_images_keeps_its_row() -> None:
    (axes,) = class_sheet([noise(2), noise(0), noise(1)], NAMES, "one is missing").axes
    assert len(axes.images) == 3
    assert len(axes.get_yticks()) == 3


def test_a_hundred_classes_are_in_columns_on_a_page_of_reasonable_size() -> None:
    rows = [noise(1 + number % 3) for number in range(100)]
    names = [f"class number {number}" for number in range(100)]
    figure = class_sheet(rows, names, "CIFAR-100 train: random samples of each class")
    assert [text.get_text() for axes in figure.axes for text in axes.get_yticklabels()] == names
    drawn = [np.asarray(image.get_array()).transpose(2, 0, 1) for axes in figure.axes for image in axes.images]
    assert np.array_equal(np.stack(drawn), np.concatenate(rows))
    assert len(figure.axes) == 4
    assert max(figure.get_size_inches() * figure.dpi) < 4000
    assert_legible(figure)


@pytest.mark.parametrize("count", [25, 26, 51])
def test_no_class_is_lost_between_the_columns(count: int) -> None:
    figure = class_sheet([noise(1, 4, 4)] * count, [str(number) for number in range(count)], "many")
    assert [int(text.get_text()) for axes in figure.axes for text in axes.get_yticklabels()] == list(range(count))
    page = rendered(figure)
    image = noise(1, 4, 4)[0].transpose(1, 2, 0)
    for each in (image for axes in figure.axes for image in axes.images):
        box = each.get_window_extent()
        left, top, scale = round(box.x0), round(page.shape[0] - box.y1), round(box.width) // 4
        found = page[top : top + 4 * scale, left : left + 4 * scale]
        assert np.array_equal(found, image.repeat(scale, 0).repeat(scale, 1))
