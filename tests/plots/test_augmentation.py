"""The sheet of the augmented views of one image."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from matplotlib.patches import Rectangle

from firstlight.plots.augmentation import AugmentedImage, augmentation_sheet
from reference.augmentation import mirrored_image, shifted_image
from reference.legible import assert_legible


def noise(height: int = 8, width: int = 6) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (3, height, width), dtype=np.uint8)


@pytest.mark.parametrize(
    ("view", "says"),
    [
        (AugmentedImage(noise(), 0), []),
        (AugmentedImage(noise(), 0, down_px=1), ["1 up"]),
        (AugmentedImage(noise(), 0, down_px=-2, right_px=3), ["2 down, 3 left"]),
        (AugmentedImage(noise(), 0, right_px=-4, mirrored=True), ["4 right", "mirrored"]),
        (AugmentedImage(noise(), 0, mirrored=True, cutout=(0, 5)), ["mirrored", "cutout at (0, 5)"]),
    ],
)
def test_descriptions_of_the_augmentation(view: AugmentedImage, says: list[str]) -> None:
    assert view.descriptions() == says
    label = augmentation_sheet(noise(), [view], "one", "").axes[1].get_xlabel()
    assert label == ("\n".join(says) or "unchanged")


def test_a_spot_moves_as_described() -> None:
    image = np.zeros((3, 9, 9), np.uint8)
    image[:, 4, 4] = 255
    view = AugmentedImage(shifted_image(image, 2, -3), 0, down_px=2, right_px=-3)
    assert view.descriptions() == ["2 up, 3 right"]
    assert np.argwhere(view.image[0]).tolist() == [[4 - 2, 4 + 3]]


def test_the_original_comes_first_then_every_view_unchanged() -> None:
    views = [AugmentedImage(noise() // number, number - 1) for number in (1, 2, 3)]
    figure = augmentation_sheet(noise(), views, "three", "seed 0", num_columns=3)
    drawn = [axes.images[0] for axes in figure.axes if axes.images]
    assert all(image.get_interpolation() == "nearest" for image in drawn)
    expected = [noise(), *(view.image for view in views)]
    for image, pixels in zip(drawn, expected, strict=True):
        assert np.array_equal(image.get_array(), pixels.transpose(1, 2, 0))
    assert [axes.get_title() for axes in figure.axes] == ["original", "epoch 1", "epoch 2", "epoch 3", "", ""]


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize(("down", "right"), [(2, 0), (-3, 1), (0, -2), (1, 4)])
def test_the_line_separates_the_original_from_its_reflection(down: int, right: int, mirrored: bool) -> None:
    image = noise()
    _, height, width = image.shape
    moved = shifted_image(image, down, right)
    view = AugmentedImage(mirrored_image(moved) if mirrored else moved, 0, down, right, mirrored)
    (box,) = augmentation_sheet(image, [view], "one", "").axes[1].patches
    assert isinstance(box, Rectangle)
    for row, column in product(range(height), range(width)):
        from_row, from_column = row + down, (width - 1 - column if mirrored else column) + right
        is_original = 0 <= from_row < height and 0 <= from_column < width
        assert box.get_bbox().contains(column, row) == is_original
        if is_original:
            assert np.array_equal(view.image[:, row, column], image[:, from_row, from_column])


def test_an_image_that_was_not_moved_has_no_line() -> None:
    axes = augmentation_sheet(noise(), [AugmentedImage(noise(), 0, mirrored=True, cutout=(1, 1))], "one", "").axes[1]
    assert not axes.patches


@pytest.mark.parametrize("count", [0, 1, 5, 13])
def test_all_texts_are_legible(count: int) -> None:
    view = AugmentedImage(noise(32, 32), 0, down_px=14, right_px=-13, mirrored=True, cutout=(31, 31))
    subtitle = "moved by up to 4 px (beyond the line: reflected), then mirrored every other epoch; seed 0"
    assert_legible(augmentation_sheet(noise(32, 32), [view] * count, "drawn train 3 (star): what it sees", subtitle))
