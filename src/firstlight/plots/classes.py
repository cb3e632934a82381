"""A sheet with a row of images for every class."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8

from firstlight.plots.figure import INCHES_PER_TILE, LABEL_SIZE, TITLE_SIZE, Figure, hide_frame
from firstlight.plots.samples import shorten

SCALE = 0.72  # of a tile on other sheets: ten by ten fit on a page
GAP = 0.03  # round each image, in tiles
INCHES_PER_LETTER = 0.075  # at LABEL_SIZE, about


def class_sheet(rows: Sequence[UInt8[np.ndarray, "_ 3 h w"]], class_names: Sequence[str], title: str) -> Figure:
    """Draw a row for every class, its name at the left.

    Args:
        rows: the images of each class, uint8 [m 3 h w]; m may differ, a shorter row ends early.
        class_names: a name for each row.
        title: of the sheet.

    >>> figure = class_sheet([np.zeros((2, 3, 4, 4), np.uint8)] * 3, ["a", "b", "c"], "two of each")
    >>> len(figure.axes[0].images)
    6
    """
    names = [shorten(name) for name in class_names]
    num_columns = max(1, *map(len, rows))
    height, width = rows[0].shape[2:]
    inches = INCHES_PER_TILE * SCALE
    across = num_columns * inches + max(map(len, names)) * INCHES_PER_LETTER + 0.2
    figure = Figure(figsize=(max(across, 0.13 * len(title)), len(rows) * inches * height / width + 0.6))
    figure.suptitle(title, fontsize=TITLE_SIZE)
    # One axes for all: a hundred would take constrained layout seconds to arrange.
    axes = figure.subplots()
    for row, images in enumerate(rows):
        for column, image in enumerate(images):
            place = (column + GAP, column + 1 - GAP, row + 1 - GAP, row + GAP)
            axes.imshow(image.transpose(1, 2, 0), interpolation="nearest", extent=place)
    hide_frame(axes)
    axes.set(xlim=(0, num_columns), ylim=(len(rows), 0), aspect=height / width)
    axes.set_yticks([row + 0.5 for row in range(len(rows))], names, fontsize=LABEL_SIZE)
    axes.tick_params(length=0)
    return figure
