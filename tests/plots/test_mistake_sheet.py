"""The sheet of misclassified images: its tiles, its captions, and that all texts are legible."""

from __future__ import annotations

import numpy as np
import pytest

from firstlight.plots.figure import RIGHT, WRONG, Figure, png_pixels
from firstlight.plots.mistake_sheet import TILE, class_caption, mistake_sheet
from firstlight.plots.overlay import SCALE_LABEL, overlay
from reference.legible import assert_legible
from reference.mistake_sheet import captions_of, images_of

TITLE = "CIFAR-10 test: 1,643 of 10,000 misclassified, most confident first (is automobile, says five-pointed star)"
SUBTITLE = "grad_cam_pp, stage residual3"


Tile = tuple[np.ndarray, tuple[np.ndarray, np.ndarray], tuple[str, str, str]]


def mistake(number: int, predicted: str = "automobile", true: str = "five-pointed star") -> Tile:
    """Return an image, its two maps and its three captions."""
    draw = np.random.default_rng(number)
    image = draw.integers(0, 256, (3, 6, 5), dtype=np.uint8)
    predicted_map = draw.normal(size=(6, 5))
    true_map = -draw.random((6, 5)) if number % 2 else draw.normal(size=(6, 5))
    says = class_caption("says", predicted, 1.0 - 0.01 * number)
    truth = class_caption("is", true, 0.001 + 0.01 * number)
    return image, (predicted_map, true_map), (f"test {9990 + number}", says, truth)


def draw(mistakes: list[Tile], title: str, num_columns: int = 3) -> Figure:
    images, maps, captions = ([each[part] for each in mistakes] for part in range(3))
    return mistake_sheet(images, maps, captions, title, f"{SCALE_LABEL}; {SUBTITLE}", num_columns)


def test_each_mistake_is_drawn_unchanged_beside_the_evidence_for_both_classes() -> None:
    mistakes = [mistake(number, "cat", "dog") for number in range(4)]
    figure = draw(mistakes, "four", num_columns=2)
    for tiles, (image, maps, _) in zip(images_of(figure), mistakes, strict=True):
        expected = (image.transpose(1, 2, 0), *(overlay(image, evidence) for evidence in maps))
        for tile, array in zip(tiles, expected, strict=True):
            np.testing.assert_array_equal(tile.get_array(), array)
            assert tile.get_interpolation() == "nearest"
            box = tile.get_window_extent()
            assert box.height / box.width == pytest.approx(6 / 5), "pixels are square"
    nothing = "no positive\nevidence"  # every odd mistake has nothing for its true class
    assert captions_of(figure) == [
        *("test 9990", "says cat\n>99%", "is dog\n<1%"),
        *("test 9991", "says cat\n99%", "is dog\n1%", nothing),
        *("test 9992", "says cat\n98%", "is dog\n2%"),
        *("test 9993", "says cat\n97%", "is dog\n3%", nothing),
    ]
    colours = {text.get_text()[:2]: text.get_color() for text in figure.axes[0].texts}
    assert (colours["sa"], colours["is"]) == (WRONG, RIGHT)


def test_the_first_row_of_an_image_is_drawn_on_top() -> None:
    """The upper left pixel of the drawn figure's first tile has the colour of the image's first pixel."""
    image, maps, captions = mistake(0)
    image[:, 0, 0], image[:, -1, 0] = (255, 0, 0), (0, 0, 255)
    figure = draw([(image, maps, captions)], "one")
    box = images_of(figure)[0][0].get_window_extent()
    page = png_pixels(figure.png())
    left, top, bottom = round(box.x0) + 3, len(page) - round(box.y1) + 3, len(page) - round(box.y0) - 4
    assert page[top, left].tolist() == [255, 0, 0]
    assert page[bottom, left].tolist() == [0, 0, 255]


def test_the_scale_states_the_normalization_and_how_the_maps_were_made() -> None:
    label = draw([mistake(0)], "one").axes[-1].get_xlabel()
    assert SCALE_LABEL in label
    assert SUBTITLE in label


@pytest.mark.parametrize("count", [1, 3, 7, 12])
def test_all_texts_are_legible_and_mistakes_are_in_rows(count: int) -> None:
    figure = draw([mistake(number) for number in range(count)], TITLE)
    assert_legible(figure)
    boxes = [tiles[0].get_window_extent() for tiles in images_of(figure)]
    assert [box.height for box in boxes] == pytest.approx([TILE * figure.dpi] * count)
    positions = [(-round(box.y0, 2), box.x0) for box in boxes]
    assert positions == sorted(positions)
    said = [text for text in captions_of(figure) if text.startswith("test")]
    assert said == [f"test {9990 + number}" for number in range(count)]


def test_long_class_names_are_shortened_and_short_ones_are_not() -> None:
    name = "a class with a very long name, as folders have them"
    figure = draw([mistake(1, predicted=name, true="truck")], "one")
    _, says, is_, *_ = captions_of(figure)
    assert says == "says a class with a v\N{HORIZONTAL ELLIPSIS}\n99%"
    assert is_ == "is truck\n1%"
    assert_legible(figure)


def test_without_mistakes_there_is_a_title_and_no_scale() -> None:
    figure = draw([], "test: 0 of 83 misclassified, most confident first")
    assert_legible(figure)
    assert captions_of(figure) == ["no image to show"]
    assert len(figure.axes) == 1
