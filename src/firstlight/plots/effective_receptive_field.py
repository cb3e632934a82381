"""Effective receptive fields beside the theoretical ones."""

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
PADDING_COLOUR = "0.85"  # what a unit sees outside the image
FLOOR = 1e-4  # of the largest gradient: four decades are shown


@dataclass(frozen=True)
class MeasuredField:
    """How strongly each pixel moves a unit, and what the unit can see.

    Args:
        energy: gradient energy of each pixel, float [h w], not normalized.
        box_px: first row, first column, last row, last column that the unit sees; may reach over the edge.
        title: of the panel.
    """

    energy: Float[np.ndarray, "h w"]
    box_px: tuple[int, int, int, int]
    title: str


def effective_receptive_fields(rows: Sequence[Sequence[MeasuredField]], title: str) -> Figure:
    """Draw how strongly each pixel moves a unit, and the box of what the unit can see.

    Shown is the gradient, which is the root of its energy, relative to the largest of its panel, on a logarithmic
    scale, so that the faint rim of a receptive field is seen beside its centre.

    Args:
        rows: of panels, each row as long as the first.
        title: of the figure.

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
    bar.set_label("gradient, relative to the panel's largest", fontsize=LABEL_SIZE)
    bar.ax.tick_params(labelsize=SMALL_SIZE)
    outline = Rectangle((0, 0), 1, 1, fill=False, ec=BOX_COLOUR, lw=1.8, label="what the unit can see; axes in pixels")
    figure.legend(handles=[outline], loc="outside lower center", fontsize=LABEL_SIZE, frameon=False)
    return figure


def _draw(axes: Axes, field: MeasuredField) -> AxesImage:
    largest = max(field.energy.max(), np.finfo(field.energy.dtype).tiny)
    gradient = np.maximum(np.sqrt(field.energy / largest), FLOOR)
    image = axes.imshow(gradient, cmap="magma", norm="log", vmin=FLOOR, vmax=1.0, interpolation="nearest")
    axes.set_facecolor(PADDING_COLOUR)
    top, left, bottom, right = field.box_px
    # Pixels are squares around whole numbers: the box runs along their outer edges.
    box = Rectangle((left - 0.5, top - 0.5), right - left + 1, bottom - top + 1, fill=False, ec=BOX_COLOUR, lw=1.8)
    axes.add_patch(box)
    margin = 0.03 * max(*field.energy.shape, bottom - top, right - left)
    height, width = field.energy.shape
    axes.set_xlim(min(-0.5, left - 0.5 - margin), max(width - 0.5, right + 0.5 + margin))
    axes.set_ylim(max(height - 0.5, bottom + 0.5 + margin), min(-0.5, top - 0.5 - margin))
    axes.set_title(field.title, fontsize=LABEL_SIZE)
    axes.tick_params(labelsize=SMALL_SIZE)
    return image
