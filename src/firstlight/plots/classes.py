"""A sheet with a row of images for each class."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8
from matplotlib.axes import Axes

from firstlight.plots.figure import LABEL_SIZE, TITLE_SIZE, Figure, hide_frame, literal_text
from firstlight.plots.samples import shorten

# Lengths are in dots (150 per inch). Every pixel of an image is drawn as a whole number of dots, so that all pixels are
# squares of one size.
IMAGE_DOTS = 128  # approximate side of an image; ten by ten images fit on a page
GAP_DOTS, MARGIN_DOTS, TITLE_DOTS = 8, 18, 56
MAX_ROWS = 25  # with more classes, the images are smaller and fill several columns


@literal_text
def class_sheet(rows: Sequence[UInt8[np.ndarray, "_ 3 h w"]], class_names: Sequence[str], title: str) -> Figure:
    """Draw a row of images for each class, with the class's name at the left.

    Args:
        rows: Images of each class, uint8 [m 3 h w]; the number m of images may differ between classes.
        class_names: Name of each class.
        title: Title of the sheet.

    >>> figure = class_sheet([np.zeros((2, 3, 4, 4), np.uint8)] * 3, ["a", "b", "c"], "two of each")
    >>> len(figure.axes[0].images)
    6
    """
    num_columns = max(1, -(-len(rows) // MAX_ROWS))
    num_rows = -(-len(rows) // num_columns)
    scale = max(1, round(IMAGE_DOTS / (1 if num_columns == 1 else 2) / max(rows[0].shape[2:])))
    figure = Figure(layout="none")
    sizes = []
    for first in range(0, len(rows), max(1, num_rows)):
        axes = figure.add_axes((0, 0, 1, 1), label=str(first))
        chosen = slice(first, first + num_rows)
        sizes.append(_draw_column(axes, rows[chosen], class_names[chosen], scale))
    _fit(figure, sizes, title)
    return figure


def _draw_column(
    axes: Axes, rows: Sequence[UInt8[np.ndarray, "_ 3 h w"]], class_names: Sequence[str], scale: int
) -> tuple[int, int]:
    """Draw one column of rows, and return its width and height in dots."""
    height, width = rows[0].shape[2:]
    row_dots, column_dots = height * scale + GAP_DOTS, width * scale + GAP_DOTS
    for row, images in enumerate(rows):
        for column, image in enumerate(images):
            top, left = row * row_dots, column * column_dots
            extent = (left, left + width * scale, top + height * scale, top)
            axes.imshow(image.transpose(1, 2, 0), interpolation="nearest", extent=extent)
    hide_frame(axes)
    size = max(1, *map(len, rows)) * column_dots - GAP_DOTS, len(rows) * row_dots - GAP_DOTS
    axes.set(xlim=(0, size[0]), ylim=(size[1], 0), aspect="auto")
    names = [shorten(name) for name in class_names]
    axes.set_yticks([row * row_dots + height * scale / 2 for row in range(len(rows))], names, fontsize=LABEL_SIZE)
    axes.tick_params(length=0)
    return size


def _fit(figure: Figure, sizes: Sequence[tuple[int, int]], title: str) -> None:
    """Set the figure's size and the positions of the axes so that images, names and title fit exactly."""
    heading = figure.suptitle(title, fontsize=TITLE_SIZE, va="center")
    lefts, right = [], MARGIN_DOTS
    for axes, (width, _) in zip(figure.axes, sizes, strict=True):
        longest = max((name.get_window_extent().width for name in axes.get_yticklabels()), default=0)
        lefts.append(right - MARGIN_DOTS + int(longest) + 2 * MARGIN_DOTS)
        right = lefts[-1] + width + MARGIN_DOTS
    tallest = max(height for _, height in sizes)
    width_dots = max(right, int(heading.get_window_extent().width) + 2 * MARGIN_DOTS)
    height_dots = MARGIN_DOTS + tallest + TITLE_DOTS
    figure.set_size_inches(width_dots / figure.dpi, height_dots / figure.dpi)
    for axes, left, (width, height) in zip(figure.axes, lefts, sizes, strict=True):
        axes.set_position(
            (
                left / width_dots,
                (MARGIN_DOTS + tallest - height) / height_dots,
                width / width_dots,
                height / height_dots,
            )
        )
    heading.set_position((0.5, 1 - TITLE_DOTS / 2 / height_dots))
