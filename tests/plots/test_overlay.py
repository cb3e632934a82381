"""Overlays: colours against hand arithmetic, and no colour without positive evidence."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.collections import QuadMesh

from firstlight.plots.figure import Figure
from firstlight.plots.overlay import NOISE, SCALE_LABEL, add_colour_bar, has_evidence, overlay, show_overlay

# Published values of the inferno colour map, 0 to 255 (R's `viridisLite::inferno(3)`).
INFERNO = {0.0: (0x00, 0x00, 0x04), 0.5: (0xBB, 0x37, 0x54), 1.0: (0xFC, 0xFF, 0xA4)}
GREY = 0.299 * 200 + 0.587 * 100 + 0.114 * 50  # of the pixel (200, 100, 50)


def one_colour(height: int, width: int) -> np.ndarray:
    return np.broadcast_to(np.array([200, 100, 50], np.uint8)[:, None, None], (3, height, width)).copy()


@pytest.mark.parametrize("opacity", [0.0, 0.25, 0.6, 1.0])
def test_each_pixel_is_its_grey_blended_with_the_colour_of_its_share(opacity: float) -> None:
    evidence = np.array([[4.0, 2.0, 0.0]])
    expected = [[(1 - opacity) * GREY + opacity * value for value in INFERNO[share]] for share in (1.0, 0.5, 0.0)]
    np.testing.assert_allclose(overlay(one_colour(1, 3), evidence, opacity)[0], expected, atol=1.01)


def test_shares_are_relative_to_the_largest_absolute_value() -> None:
    weak, alone = np.array([[0.5, -1.0, 0.0]]), np.array([[0.5, 0.0, 0.0]])
    assert overlay(one_colour(1, 3), weak, 1.0)[0, 0].tolist() == pytest.approx(INFERNO[0.5], abs=1)
    assert overlay(one_colour(1, 3), alone, 1.0)[0, 0].tolist() == pytest.approx(INFERNO[1.0], abs=1)
    faint = overlay(one_colour(1, 2), np.array([[0.02, -1.0]]), 1.0)[0, 0]
    assert faint.max() < 30


def test_negative_evidence_has_the_colour_of_no_evidence() -> None:
    drawn = overlay(one_colour(1, 3), np.array([[1.0, -0.7, 0.0]]))[0]
    assert drawn[1].tolist() == drawn[2].tolist()


def test_the_unit_of_the_map_does_not_matter() -> None:
    image = np.random.default_rng(0).integers(0, 256, (3, 5, 4), dtype=np.uint8)
    evidence = np.random.default_rng(1).normal(size=(5, 4))
    np.testing.assert_array_equal(overlay(image, 1024 * evidence), overlay(image, evidence))


NOTHING = {
    "negative": [[-1.0, -2.0]],
    "zero": [[0.0, 0.0]],
    "rounding": [[0.1 * NOISE, -1.0]],
}


@pytest.mark.parametrize("evidence", NOTHING.values(), ids=NOTHING)
def test_without_positive_evidence_the_image_is_grey_and_labelled(evidence: list[list[float]]) -> None:
    map_ = np.array(evidence)
    assert not has_evidence(map_)
    assert overlay(one_colour(1, 2), map_).tolist() == [[[round(GREY)] * 3] * 2]
    axes = Figure().subplots()
    show_overlay(axes, one_colour(1, 2), map_)
    assert [text.get_text().split() for text in axes.texts] == [["no", "positive", "evidence"]]


def test_small_values_are_evidence_if_no_value_is_larger() -> None:
    """Only a comparison with the largest value makes a small value noise."""
    map_ = np.array([[1e-12, 0.0]])
    assert has_evidence(map_)
    axes = Figure().subplots()
    show_overlay(axes, one_colour(1, 2), map_)
    assert not axes.texts


def test_on_axes_the_overlay_is_drawn_without_interpolation() -> None:
    image = np.random.default_rng(0).integers(0, 256, (3, 5, 4), dtype=np.uint8)
    evidence = np.random.default_rng(1).normal(size=(5, 4))
    axes = Figure().subplots()
    show_overlay(axes, image, evidence, opacity=0.3)
    (shown,) = axes.images
    assert shown.get_interpolation() == "nearest"
    np.testing.assert_array_equal(shown.get_array(), overlay(image, evidence, 0.3))


def test_the_colour_bar_runs_from_0_to_1_and_states_the_normalization() -> None:
    figure = Figure()
    add_colour_bar(figure, figure.subplots())
    bar = figure.axes[-1]
    assert bar.get_xlim() == (0, 1)
    assert [text.get_text() for text in bar.get_xticklabels()] == ["0", "0.5", "1"]
    assert bar.get_xlabel() == SCALE_LABEL
    assert "share of the map's largest absolute value" in SCALE_LABEL
    (strip,) = (each for each in bar.collections if isinstance(each, QuadMesh))
    assert (np.array(strip.cmap(1.0)[:3]) * 255).tolist() == pytest.approx(INFERNO[1.0], abs=1)
