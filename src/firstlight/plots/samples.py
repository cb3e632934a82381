"""A sheet of images with their labels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8
from matplotlib.text import Text

from firstlight.plots.figure import INCHES_PER_TILE, LABEL_SIZE, TITLE_SIZE, Figure, as_written, hide_frame, show_pixels

MAX_LABEL_LENGTH = 30
INCHES_PER_LETTER = 0.13  # of a title, at most


@as_written
def sample_sheet(
    images: UInt8[np.ndarray, "n 3 h w"], labels: Sequence[str], title: str, num_columns: int = 8
) -> Figure:
    """Draw images in rows, each with its label below.

    Args:
        images: uint8 [n 3 h w].
        labels: what to write below each.
        title: of the sheet.
        num_columns: images in a row.

    >>> figure = sample_sheet(np.zeros((3, 3, 4, 4), np.uint8), ["a", "b", "c"], "three", num_columns=2)
    >>> len(figure.axes)
    4
    """
    num_columns = max(1, min(num_columns, len(images)))
    num_rows = -(-len(images) // num_columns)
    width = max(num_columns * INCHES_PER_TILE, len(title) * INCHES_PER_LETTER)
    figure = Figure(figsize=(width, num_rows * (INCHES_PER_TILE + 0.22) + 0.5))
    figure.suptitle(title, fontsize=TITLE_SIZE)
    for place, axes in enumerate(figure.subplots(num_rows, num_columns, squeeze=False).flat):
        if place < len(images):
            show_pixels(axes, images[place])
            _fit(axes.set_xlabel(shorten(labels[place]), fontsize=LABEL_SIZE), INCHES_PER_TILE * figure.dpi - 8)
        else:
            hide_frame(axes)
    return figure


def shorten(label: str, max_length: int = MAX_LABEL_LENGTH) -> str:
    """Cut a label that is too long to be read at a glance.

    >>> shorten("five-pointed star"), shorten("five-pointed star", 6)
    ('five-pointed star', 'five-…')
    """
    return label if len(label) <= max_length else label[: max_length - 1] + "\N{HORIZONTAL ELLIPSIS}"


def _fit(text: Text, width_dots: float) -> None:
    """Cut a text until it is no wider than this, so that it does not run into its neighbour."""
    while len(text.get_text()) > 1 and text.get_window_extent().width > width_dots:
        text.set_text(shorten(text.get_text(), len(text.get_text()) - 1))
