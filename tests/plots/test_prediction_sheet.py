"""The sheet of predictions: the picture, the network's input, the map and the classes."""

from __future__ import annotations

import numpy as np
import pytest

from firstlight.plots.overlay import SCALE_LABEL, overlay
from firstlight.plots.prediction_sheet import INCHES_PER_TILE, PredictedPicture, prediction_sheet
from reference.legible import assert_legible

SUBTITLE = "grad_cam_pp, stage residual3"
NAMES = ("five-pointed star", "automobile", "airplane", "horse", "truck", "ship", "bird", "deer", "frog", "hexagon")


def predicted(number: int, num_classes: int = 3, name: str = "photo.jpg") -> PredictedPicture:
    draw = np.random.default_rng(number)
    height, width = ((90, 120), (64, 24), (20, 90))[number % 3]
    shares = np.sort(draw.random(num_classes))[::-1]
    return PredictedPicture(
        name=name,
        picture=draw.integers(0, 256, (3, height, width), dtype=np.uint8),
        network_input=draw.integers(0, 256, (3, 6, 5), dtype=np.uint8),
        evidence=draw.normal(size=(6, 5)),
        top=[(NAMES[position % len(NAMES)], float(p)) for position, p in enumerate(shares / shares.sum())],
    )


def test_a_row_shows_the_picture_the_input_the_evidence_and_the_probabilities() -> None:
    predictions = [predicted(number) for number in range(2)]
    figure = prediction_sheet(predictions, SUBTITLE)
    rows = [figure.axes[start : start + 4] for start in (0, 4)]
    for (picture, seen, evidence, bars), each in zip(rows, predictions, strict=True):
        np.testing.assert_array_equal(picture.images[0].get_array(), each.picture.transpose(1, 2, 0))
        np.testing.assert_array_equal(seen.images[0].get_array(), each.network_input.transpose(1, 2, 0))
        np.testing.assert_array_equal(evidence.images[0].get_array(), overlay(each.network_input, each.evidence))
        assert {axes.images[0].get_interpolation() for axes in (seen, evidence)} == {"nearest"}
        assert picture.get_title() == "photo.jpg"
        assert "5x6" in seen.get_title(), "width by height"
        assert each.top[0][0] in evidence.get_title()
        assert bars.get_xlim() == (0, 1), "bars of different pictures compare"
        assert [bar.get_width() for bar in bars.patches] == [probability for _, probability in each.top]
        assert [text.get_text() for text in bars.texts] == [f"{name}  {100 * p:.1f}%" for name, p in each.top]
        middles = [bars.transData.transform((0, bar.get_y()))[1] for bar in bars.patches]
        assert middles == sorted(middles, reverse=True), "the most probable class is on top"
    label = figure.axes[-1].get_xlabel()
    assert SCALE_LABEL in label
    assert SUBTITLE in label


@pytest.mark.parametrize(("count", "num_classes"), [(1, 1), (1, 10), (5, 4), (2, 11), (1, 100)])
def test_all_texts_of_the_sheet_are_legible(count: int, num_classes: int) -> None:
    figure = prediction_sheet([predicted(number, num_classes) for number in range(count)], SUBTITLE)
    assert_legible(figure)
    assert figure.axes[1].get_window_extent().width > 0.8 * INCHES_PER_TILE * figure.dpi, "tiles shrank for the texts"


def test_classes_that_do_not_fit_are_counted() -> None:
    bars = prediction_sheet([predicted(0, num_classes=13)], SUBTITLE).axes[3]
    assert len(bars.patches) == 10
    assert [text.get_text() for text in bars.texts][10:] == ["and 3 less probable"]


def test_long_names_are_shortened_files_at_their_beginning_and_classes_at_their_end() -> None:
    long = predicted(0, name="holiday pictures of the year 2026, the very last one.jpeg")
    classes = [("a class with a very long name, as folders have them", 0.9), ("truck", 0.1)]
    long = PredictedPicture(long.name, long.picture, long.network_input, long.evidence, classes)
    figure = prediction_sheet([long], SUBTITLE)
    assert_legible(figure)
    title = figure.axes[0].get_title()
    assert title.startswith("\N{HORIZONTAL ELLIPSIS}")
    assert long.name.endswith(title[1:])
    assert len(title) < len(long.name)
    assert "a class with" in figure.axes[2].get_title()
