"""A sheet of misclassified images with the maps of their predicted and their true class."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, UInt8
from matplotlib.axes import Axes

from firstlight.plots.figure import (
    LABEL_SIZE,
    RIGHT,
    SMALL_SIZE,
    TITLE_SIZE,
    WRONG,
    Figure,
    hide_frame,
    literal_text,
    show_pixels,
)
from firstlight.plots.overlay import SCALE_LABEL, add_colour_bar, show_overlay

INCHES_PER_TILE = 1.55
TILES = 3  # for each mistake: the image, the map of the predicted class, the map of the true class
GAP = 0.22  # gap between two mistakes in a row, in tiles
MIN_WIDTH = 6.0  # inches, so that the label of the colour bar fits
INCHES_PER_LETTER, INCHES_PER_LINE = 0.11, 0.26  # width of a character and height of a line of the title
MAX_NAME_LENGTH = 17
MAX_FILE_NAME_LENGTH = 15


@literal_text
def mistake_sheet(
    images: Sequence[UInt8[np.ndarray, "3 h w"]],
    maps: Sequence[tuple[Float[np.ndarray, "h w"], Float[np.ndarray, "h w"]]],
    captions: Sequence[tuple[str, str, str]],
    title: str,
    subtitle: str,
    num_columns: int = 3,
) -> Figure:
    """Draw misclassified images, each beside the maps for its predicted and for its true class.

    Args:
        images: Images in the order in which they are drawn, row by row, uint8 [3 h w].
        maps: Evidence for the predicted and for the true class of each image, raw and signed, float [h w].
        captions: Texts above each image, above its first map and above its second map.
        title: Title of the sheet.
        subtitle: Method and stage of the maps.
        num_columns: Number of mistakes in a row.
    """
    num_columns = max(1, min(num_columns, len(images)))
    num_rows = max(1, -(-len(images) // num_columns))
    figure = _empty_sheet(num_rows, num_columns, title)
    ratios = ([1.0] * TILES + [GAP]) * num_columns
    grid = figure.add_gridspec(num_rows, len(ratios) - 1, width_ratios=ratios[:-1], wspace=0.02, hspace=0.02)
    drawn: list[Axes] = []
    for position in range(num_rows * num_columns):
        row, column = divmod(position, num_columns)
        start = column * (TILES + 1)
        tiles = [figure.add_subplot(grid[row, start + i]) for i in range(TILES)]
        drawn += tiles
        if position < len(images):
            _draw(tiles, images[position], maps[position], captions[position])
        else:
            for tile in tiles:
                hide_frame(tile)
    if not images:
        drawn[1].text(0.5, 0.5, "no image to show", ha="center", va="center", fontsize=LABEL_SIZE)
    else:
        add_colour_bar(figure, drawn, f"{SCALE_LABEL}; {subtitle}")
    return figure


def _empty_sheet(num_rows: int, num_columns: int, title: str) -> Figure:
    width = max(num_columns * TILES * INCHES_PER_TILE + (num_columns - 1) * GAP * INCHES_PER_TILE, MIN_WIDTH)
    lines = textwrap.wrap(title, int(width / INCHES_PER_LETTER))
    height = num_rows * (INCHES_PER_TILE + 0.47) + 1.1 + len(lines) * INCHES_PER_LINE
    figure = Figure(figsize=(width, height))
    figure.suptitle("\n".join(lines), fontsize=TITLE_SIZE)
    return figure


def _draw(
    tiles: Sequence[Axes],
    image: UInt8[np.ndarray, "3 h w"],
    maps: tuple[Float[np.ndarray, "h w"], Float[np.ndarray, "h w"]],
    captions: tuple[str, str, str],
) -> None:
    show_pixels(tiles[0], image)
    tiles[0].set_title(captions[0], fontsize=SMALL_SIZE, pad=3)
    for tile, evidence, caption, colour in zip(tiles[1:], maps, captions[1:], (WRONG, RIGHT), strict=True):
        show_overlay(tile, image, evidence)
        tile.set_title(caption, fontsize=SMALL_SIZE, color=colour, pad=3)
    for tile in tiles:
        tile.set_axis_off()  # looks the same without ticks, and the layout is computed faster


def class_caption(verb: str, class_name: str, probability: float) -> str:
    """Return the caption of a class: a verb and the shortened name, and the probability on a second line.

    >>> class_caption("says", "cat", 0.25).splitlines()
    ['says cat', '25%']
    """
    return f"{verb} {_short(class_name)}\n{percent(probability)}"


def image_caption(name: str) -> str:
    """Return the caption of an image: the last part of its path, shortened at the front.

    >>> image_caption("cat/2024/june/1.jpg"), image_caption("cat/holidays_in_the_mountains_1.jpg")
    ('1.jpg', '…ountains_1.jpg')
    """
    name = name.rsplit("/", 1)[-1]
    ellipsis = "\N{HORIZONTAL ELLIPSIS}"
    return name if len(name) <= MAX_FILE_NAME_LENGTH else ellipsis + name[1 - MAX_FILE_NAME_LENGTH :]


def percent(probability: float) -> str:
    """Format a probability as a percentage; values that would round to 0 % or 100 % become `<1%` or `>99%`.

    >>> percent(0.123), percent(0.999), percent(0.001)
    ('12%', '>99%', '<1%')
    """
    if probability > 0.995:
        return ">99%"
    return "<1%" if probability < 0.005 else f"{probability:.0%}"


def _short(name: str) -> str:
    return name if len(name) <= MAX_NAME_LENGTH else name[: MAX_NAME_LENGTH - 1] + "\N{HORIZONTAL ELLIPSIS}"
