"""A sheet of images with their labels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8
from matplotlib.text import Text

from firstlight.plots.figure import LABEL_SIZE, TITLE_SIZE, Figure, hide_frame, literal_text

MAX_LABEL_LENGTH = 30
# Lengths are in dots (150 per inch). Every pixel of an image is drawn as a whole number of dots, so that all pixels are
# squares of one size.
IMAGE_DOTS = 160  # approximate side of an image; eight images fit in a row on a page
GAP_DOTS, LABEL_DOTS, MARGIN_DOTS, TITLE_DOTS = 26, 40, 18, 56


@literal_text
def sample_sheet(
    images: UInt8[np.ndarray, "n 3 h w"], labels: Sequence[str], title: str, num_columns: int = 8
) -> Figure:
    """Draw images in rows, each with a text below it.

    Args:
        images: Images, uint8 [n 3 h w].
        labels: Text below each image.
        title: Title of the sheet.
        num_columns: Number of images in a row.

    >>> figure = sample_sheet(np.zeros((3, 3, 4, 4), np.uint8), ["a", "b", "c"], "three", num_columns=2)
    >>> len(figure.axes[0].images), [text.get_text() for text in figure.axes[0].texts]
    (3, ['a', 'b', 'c'])
    """
    num_columns = max(1, min(num_columns, len(images)))
    height, width = (max(1, round(IMAGE_DOTS / max(images.shape[2:]))) * side for side in images.shape[2:])
    column_dots, row_dots = width + GAP_DOTS, height + LABEL_DOTS
    size = num_columns * column_dots, -(-len(images) // num_columns) * row_dots
    figure = Figure(layout="none")
    heading = figure.suptitle(title, fontsize=TITLE_SIZE, va="center")
    width_dots = max(size[0], int(heading.get_window_extent().width)) + 2 * MARGIN_DOTS
    height_dots = size[1] + MARGIN_DOTS + TITLE_DOTS
    figure.set_size_inches(width_dots / figure.dpi, height_dots / figure.dpi)
    heading.set_position((0.5, 1 - TITLE_DOTS / 2 / height_dots))
    left, bottom = (width_dots - size[0]) // 2 / width_dots, MARGIN_DOTS / height_dots
    axes = figure.add_axes((left, bottom, size[0] / width_dots, size[1] / height_dots))
    for position, (image, label) in enumerate(zip(images, labels, strict=True)):
        row, column = divmod(position, num_columns)
        x, y = column * column_dots + GAP_DOTS // 2, row * row_dots
        axes.imshow(image.transpose(1, 2, 0), interpolation="nearest", extent=(x, x + width, y + height, y))
        text = axes.text(x + width / 2, y + height + 4, shorten(label), ha="center", va="top", fontsize=LABEL_SIZE)
        _fit(text, column_dots - 4)
    hide_frame(axes)
    axes.set(xlim=(0, size[0]), ylim=(size[1], 0), aspect="auto")
    return figure


def shorten(label: str, max_length: int = MAX_LABEL_LENGTH) -> str:
    """Return a label, cut to a length and ended with an ellipsis if it is longer.

    Args:
        label: Label of any length.
        max_length: Largest number of characters of the result.

    >>> shorten("five-pointed star"), shorten("five-pointed star", 6)
    ('five-pointed star', 'five-…')
    """
    return label if len(label) <= max_length else label[: max_length - 1] + "\N{HORIZONTAL ELLIPSIS}"


def _fit(text: Text, width_dots: int) -> None:
    """Shorten a text until it is no wider than `width_dots`, so that it does not overlap its neighbour."""
    while len(text.get_text()) > 1 and text.get_window_extent().width > width_dots:
        text.set_text(shorten(text.get_text(), len(text.get_text()) - 1))
