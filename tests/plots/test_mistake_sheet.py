"""The sheet of misclassified images: its tiles, its captions, and that all texts are legible."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.axes import Axes

from firstlight.plots.figure import RIGHT, WRONG, Figure
from firstlight.plots.mistake_sheet import INCHES_PER_TILE, class_caption, mistake_sheet
from firstlight.plots.overlay import SCALE_LABEL, overlay
from reference.legible import assert_legible

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
    return mistake_sheet(images, maps, captions, title, SUBTITLE, num_columns)


def tiles_of(figure: Figure) -> list[list[Axes]]:
    """Return the axes of each mistake, without those of the colour bar."""
    tiles = figure.axes[:-1]
    return [tiles[start : start + 3] for start in range(0, len(tiles), 3)]


def test_each_mistake_is_drawn_unchanged_beside_the_evidence_for_both_classes() -> None:
    mistakes = [mistake(number, "cat", "dog") for number in range(4)]
    figure = draw(mistakes, "four", num_columns=2)
    for tiles, (image, maps, _) in zip(tiles_of(figure), mistakes, strict=True):
        expected = (image.transpose(1, 2, 0), *(overlay(image, evidence) for evidence in maps))
        for axes, array in zip(tiles, expected, strict=True):
            (shown,) = axes.images
            np.testing.assert_array_equal(shown.get_array(), array)
            assert shown.get_interpolation() == "nearest"
            assert axes.get_aspect() == 1.0
    said = [[axes.get_title() for axes in tiles] for tiles in tiles_of(figure)]
    assert said == [
        ["test 9990", "says cat\n>99%", "is dog\n<1%"],
        ["test 9991", "says cat\n99%", "is dog\n1%"],
        ["test 9992", "says cat\n98%", "is dog\n2%"],
        ["test 9993", "says cat\n97%", "is dog\n3%"],
    ]
    colours = {axes.title.get_color() for tiles in tiles_of(figure) for axes in tiles[1:]}
    assert colours == {RIGHT, WRONG}
    without = [[len(axes.texts) for axes in tiles] for tiles in tiles_of(figure)]
    assert without == [[0, 0, 0], [0, 0, 1]] * 2, "every odd mistake has nothing for its true class"


def test_the_scale_states_the_normalization_and_how_the_maps_were_made() -> None:
    label = draw([mistake(0)], "one").axes[-1].get_xlabel()
    assert SCALE_LABEL in label
    assert SUBTITLE in label


@pytest.mark.parametrize("count", [1, 3, 7, 12])
def test_all_texts_are_legible_and_mistakes_are_in_rows(count: int) -> None:
    figure = draw([mistake(number) for number in range(count)], TITLE)
    assert_legible(figure)
    assert figure.axes[0].get_window_extent().width > 0.9 * INCHES_PER_TILE * figure.dpi, "tiles shrank for the texts"
    shown = [tiles for tiles in tiles_of(figure) if tiles[0].images]
    positions = [(-round(tiles[0].get_position().y0, 2), tiles[0].get_position().x0) for tiles in shown]
    assert positions == sorted(positions)
    assert [tiles[0].get_title() for tiles in shown] == [f"test {9990 + number}" for number in range(count)]


def test_long_class_names_are_shortened_and_short_ones_are_not() -> None:
    name = "a class with a very long name, as folders have them"
    figure = draw([mistake(1, predicted=name, true="truck")], "one")
    says, is_ = (axes.get_title() for axes in figure.axes[1:3])
    assert says == "says a class with a v\N{HORIZONTAL ELLIPSIS}\n99%"
    assert is_ == "is truck\n1%"
    assert_legible(figure)


def test_without_mistakes_there_is_a_title_and_no_scale() -> None:
    figure = draw([], "test: 0 of 83 misclassified, most confident first")
    assert_legible(figure)
    assert not [axes for axes in figure.axes if axes.images or axes.get_xlabel()]
