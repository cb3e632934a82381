"""The effective receptive field beside the theoretical one."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patches import Rectangle

from firstlight.plots.figure import LABEL_SIZE, SMALL_SIZE, TITLE_SIZE, Figure

BOX_COLOUR = "#00c2c7"
PADDING_COLOUR = "0.85"  # what a unit sees outside the image
FLOOR = 1e-4  # of the largest gradient: four decades are shown


def effective_receptive_field(
    energy: Float[np.ndarray, "h w"], box_px: tuple[int, int, int, int], title: str
) -> Figure:
    """Draw how strongly each pixel moves a unit, and the box of what the unit can see.

    Shown is the gradient, which is the root of its energy, relative to the largest, on a logarithmic scale, so that
    the faint rim of the receptive field is seen beside its centre.

    Args:
        energy: gradient energy of each pixel, float [h w], not normalized.
        box_px: first row, first column, last row, last column that the unit sees; may reach over the edge.
        title: of the figure.

    >>> effective_receptive_field(np.eye(8), (2, 2, 5, 5), "a diagonal").axes[0].get_title()
    'a diagonal'
    """
    figure = Figure(figsize=(5.6, 5.0), layout=ConstrainedLayoutEngine(h_pad=0.1, w_pad=0.08))
    axes = figure.subplots()
    gradient = np.sqrt(energy / max(energy.max(), np.finfo(energy.dtype).tiny))
    image = axes.imshow(
        np.maximum(gradient, FLOOR), cmap="magma", norm="log", vmin=FLOOR, vmax=1.0, interpolation="nearest"
    )
    top, left, bottom, right = box_px
    # Pixels are squares around whole numbers: the box runs along their outer edges.
    outline = Rectangle((left - 0.5, top - 0.5), right - left + 1, bottom - top + 1, fill=False, ec=BOX_COLOUR, lw=1.8)
    axes.add_patch(outline)
    axes.set_facecolor(PADDING_COLOUR)
    margin = 0.02 * max(energy.shape)
    height, width = energy.shape
    axes.set_xlim(min(-0.5, left - 0.5 - margin), max(width - 0.5, right + 0.5 + margin))
    axes.set_ylim(max(height - 0.5, bottom + 0.5 + margin), min(-0.5, top - 0.5 - margin))
    axes.set_title(title, fontsize=TITLE_SIZE, pad=10)
    axes.set_xlabel("column, px", fontsize=LABEL_SIZE)
    axes.set_ylabel("row, px", fontsize=LABEL_SIZE)
    axes.tick_params(labelsize=SMALL_SIZE)
    outline.set_label(f"theoretical: {bottom - top + 1} x {right - left + 1} px")
    axes.legend(handles=[outline], loc="upper center", bbox_to_anchor=(0.5, -0.12), fontsize=LABEL_SIZE, frameon=False)
    bar = figure.colorbar(image, ax=axes, shrink=0.85)
    bar.set_label("gradient, relative to the largest", fontsize=LABEL_SIZE)
    bar.ax.tick_params(labelsize=SMALL_SIZE)
    return figure
