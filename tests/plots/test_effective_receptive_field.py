"""The figure of the effective receptive field."""

from __future__ import annotations

import numpy as np
from matplotlib.patches import Rectangle

from firstlight.plots.effective_receptive_field import FLOOR, effective_receptive_field


def energy() -> np.ndarray:
    squared = (np.arange(32) - 15.5) ** 2
    return np.exp(-(squared[:, None] + squared[None, :]) / 20)


def test_pixels_are_square_and_crisp() -> None:
    axes = effective_receptive_field(energy(), (4, 4, 27, 27), "a Gaussian").axes[0]
    (image,) = axes.images
    assert image.get_interpolation() == "nearest"
    assert axes.get_aspect() == 1.0
    assert axes.get_title() == "a Gaussian"


def test_shows_the_gradient_relative_to_its_largest() -> None:
    (image,) = effective_receptive_field(9 * energy(), (4, 4, 27, 27), "").axes[0].images
    shown = np.asarray(image.get_array())
    np.testing.assert_allclose(shown, np.maximum(np.sqrt(energy() / energy().max()), FLOOR))
    assert (image.norm.vmin, image.norm.vmax) == (FLOOR, 1.0)


def test_the_box_runs_along_the_edges_of_its_pixels() -> None:
    axes = effective_receptive_field(energy(), (4, 6, 27, 20), "").axes[0]
    box = next(patch for patch in axes.patches if isinstance(patch, Rectangle))
    assert box.get_bbox().bounds == (5.5, 3.5, 15.0, 24.0)
    assert axes.get_legend().get_texts()[0].get_text() == "theoretical: 24 x 15 px"


def test_a_box_larger_than_the_image_is_seen_whole() -> None:
    axes = effective_receptive_field(energy(), (-28, -28, 59, 59), "").axes[0]
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    assert left < -28.5 < 59.5 < right
    assert top < -28.5 < 59.5 < bottom  # row 0 is at the top


def test_a_unit_that_nothing_moves_is_drawn_black() -> None:
    (image,) = effective_receptive_field(np.zeros((4, 4)), (0, 0, 3, 3), "dead").axes[0].images
    assert (np.asarray(image.get_array()) == FLOOR).all()
