"""Figure of effective receptive fields, with the theoretical ones as boxes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle

from firstlight.plots.figure import LABEL_SIZE, SMALL_SIZE, TITLE_SIZE, Figure

INCHES_PER_PANEL = 2.7
BOX_COLOUR = "#00c2c7"
PADDING_COLOUR = "0.85"  # the part of a receptive field outside the image
FLOOR = 1e-4  # smallest gradient shown, relative to the largest: four decades


@dataclass(frozen=True)
class MeasuredField:
    """Gradient energy and theoretical receptive field of one unit.

    Args:
        energy: Gradient energy of each pixel, float [h w], not normalized.
        box_px: First row, first column, last row and last column of the theoretical receptive field; may exceed the
            image.
        title: Title of the panel.
    """

    energy: Float[np.ndarray, "h w"]
    box_px: tuple[int, int, int, int]
    title: str


def effective_receptive_fields(rows: Sequence[Sequence[MeasuredField]], title: str) -> Figure:
    """Draw the gradient of units with respect to each pixel, and their theoretical receptive fields as boxes.

    The gradient is the square root of the energy, relative to the largest value of its panel. The scale is
    logarithmic, so that the weak margin of a receptive field is visible beside its centre.

    Args:
        rows: Rows of panels, all of the same length.
        title: Title of the figure.

    >>> field = MeasuredField(np.eye(8), (2, 2, 5, 5), "a diagonal")
    >>> effective_receptive_fields([[field]], "one").axes[0].get_title()
    'a diagonal'
    """
    num_rows, num_columns = len(rows), len(rows[0])
    figure = Figure(figsize=(num_columns * INCHES_PER_PANEL + 1.2, num_rows * (INCHES_PER_PANEL + 0.3) + 1.0))
    figure.suptitle(title, fontsize=TITLE_SIZE)
    grid = figure.subplots(num_rows, num_columns, squeeze=False)
    for axes_of_row, fields in zip(grid, rows, strict=True):
        for axes, field in zip(axes_of_row, fields, strict=True):
            image = _draw(axes, field)
    bar = figure.colorbar(image, ax=grid, shrink=0.8)
    bar.set_label("gradient, relative to the largest in the panel", fontsize=LABEL_SIZE)
    bar.ax.tick_params(labelsize=SMALL_SIZE)
    outline = Rectangle(
        (0, 0), 1, 1, fill=False, ec=BOX_COLOUR, lw=1.8, label="theoretical receptive field; axes in pixels"
    )
    figure.legend(handles=[outline], loc="outside lower center", fontsize=LABEL_SIZE, frameon=False)
    return figure


def _draw(axes: Axes, field: MeasuredField) -> AxesImage:
    largest = max(field.energy.max(), np.finfo(field.energy.dtype).tiny)
    gradient = np.maximum(np.sqrt(field.energy / largest), FLOOR)
    image = axes.imshow(gradient, cmap="magma", norm="log", vmin=FLOOR, vmax=1.0, interpolation="nearest")
    axes.set_facecolor(PADDING_COLOUR)
    top, left, bottom, right = field.box_px
    # Pixel i extends from i - 0.5 to i + 0.5, and the box follows the outer edges of its pixels.
    box = Rectangle((left - 0.5, top - 0.5), right - left + 1, bottom - top + 1, fill=False, ec=BOX_COLOUR, lw=1.8)
    axes.add_patch(box)
    margin = 0.03 * max(*field.energy.shape, bottom - top, right - left)
    height, width = field.energy.shape
    axes.set_xlim(min(-0.5, left - 0.5 - margin), max(width - 0.5, right + 0.5 + margin))
    axes.set_ylim(max(height - 0.5, bottom + 0.5 + margin), min(-0.5, top - 0.5 - margin))
    axes.set_title(field.title, fontsize=LABEL_SIZE)
    axes.tick_params(labelsize=SMALL_SIZE)
    return image
