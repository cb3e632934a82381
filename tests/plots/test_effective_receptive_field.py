"""The figure of effective receptive fields."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from firstlight.plots.effective_receptive_field import FLOOR, MeasuredField, effective_receptive_fields
from reference.legible import assert_legible

Box = tuple[int, int, int, int]


def energy() -> np.ndarray:
    squared = (np.arange(32) - 15.5) ** 2
    return np.exp(-(squared[:, None] + squared[None, :]) / 20)


def panel(energy: np.ndarray, box_px: Box) -> Axes:
    return effective_receptive_fields([[MeasuredField(energy, box_px, "a Gaussian")]], "one").axes[0]


def test_pixels_are_square_and_crisp() -> None:
    axes = panel(energy(), (4, 4, 27, 27))
    (image,) = axes.images
    assert image.get_interpolation() == "nearest"
    assert axes.get_aspect() == 1.0
    assert axes.get_title() == "a Gaussian"


def test_shows_the_gradient_relative_to_its_largest() -> None:
    (image,) = panel(9 * energy(), (4, 4, 27, 27)).images
    shown = np.asarray(image.get_array())
    np.testing.assert_allclose(shown, np.maximum(np.sqrt(energy() / energy().max()), FLOOR))
    assert (image.norm.vmin, image.norm.vmax) == (FLOOR, 1.0)


def test_the_box_runs_along_the_edges_of_its_pixels() -> None:
    axes = panel(energy(), (4, 6, 27, 20))
    box = next(patch for patch in axes.patches if isinstance(patch, Rectangle))
    assert box.get_bbox().bounds == (5.5, 3.5, 15.0, 24.0)


def test_a_box_larger_than_the_image_is_completely_visible() -> None:
    axes = panel(energy(), (-28, -28, 59, 59))
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    assert left < -28.5 < 59.5 < right
    assert top < -28.5 < 59.5 < bottom  # row 0 is at the top


def test_a_unit_without_gradient_is_drawn_black() -> None:
    (image,) = panel(np.zeros((4, 4)), (0, 0, 3, 3)).images
    assert (np.asarray(image.get_array()) == FLOOR).all()


def test_panels_are_in_rows_and_all_texts_are_legible() -> None:
    rows = [
        [
            MeasuredField(energy(), box, f"residual{column}, {word}\neffective 12 px of 64 px")
            for column, box in enumerate(boxes)
        ]
        for word in ("untrained", "trained")
        for boxes in [[(9, 9, 22, 22), (-16, -16, 47, 47), (0, 0, 31, 31)]]
    ]
    figure = effective_receptive_fields(rows, "Where the central unit of each stage looks")
    assert_legible(figure)
    positions = [(-round(axes.get_position().y0, 2), axes.get_position().x0) for axes in figure.axes[:6]]
    assert positions == sorted(positions)
    assert [axes.get_title() for axes in figure.axes[:6]] == [field.title for row in rows for field in row]
