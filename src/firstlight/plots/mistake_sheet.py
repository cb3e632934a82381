"""Misclassified images: what was true, what was predicted, and what spoke for each."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

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
    as_written,
    hide_frame,
    show_pixels,
)
from firstlight.plots.overlay import SCALE_LABEL, add_scale, show_overlay

INCHES_PER_TILE = 1.55
TILES = 3  # of a mistake: the image, the evidence for the predicted class, the evidence for the true class
GAP = 0.22  # between two mistakes in a row, in tiles
MIN_WIDTH = 6.0  # inches, for the label of the scale
INCHES_PER_LETTER, INCHES_PER_LINE = 0.11, 0.26  # of the title
MAX_NAME_LENGTH = 17


@dataclass(frozen=True)
class Mistake:
    """One misclassified image and the maps of its two classes.

    Args:
        image: uint8 [3 h w].
        index: its id in the test split.
        predicted: name of the predicted class.
        predicted_probability: in [0, 1].
        predicted_map: evidence for the predicted class, raw and signed, at the image's size, float [h w].
        true: name of the true class.
        true_probability: in [0, 1].
        true_map: evidence for the true class, likewise.
    """

    image: UInt8[np.ndarray, "3 h w"]
    index: int
    predicted: str
    predicted_probability: float
    predicted_map: Float[np.ndarray, "h w"]
    true: str
    true_probability: float
    true_map: Float[np.ndarray, "h w"]


@as_written
def mistake_sheet(mistakes: Sequence[Mistake], title: str, subtitle: str, num_columns: int = 3) -> Figure:
    """Draw misclassified images, each beside the maps for its predicted and for its true class.

    Args:
        mistakes: in the order in which they are drawn, row by row.
        title: of the sheet.
        subtitle: how the maps were made.
        num_columns: mistakes in a row.
    """
    num_columns = max(1, min(num_columns, len(mistakes)))
    num_rows = max(1, -(-len(mistakes) // num_columns))
    width = max(num_columns * TILES * INCHES_PER_TILE + (num_columns - 1) * GAP * INCHES_PER_TILE, MIN_WIDTH)
    lines = textwrap.wrap(title, int(width / INCHES_PER_LETTER))
    height = num_rows * (INCHES_PER_TILE + 0.47) + 1.1 + len(lines) * INCHES_PER_LINE
    figure = Figure(figsize=(width, height))
    figure.suptitle("\n".join(lines), fontsize=TITLE_SIZE)
    ratios = ([1.0] * TILES + [GAP]) * num_columns
    grid = figure.add_gridspec(num_rows, len(ratios) - 1, width_ratios=ratios[:-1], wspace=0.02, hspace=0.02)
    drawn: list[Axes] = []
    for place in range(num_rows * num_columns):
        row, column = divmod(place, num_columns)
        start = column * (TILES + 1)
        tiles = [figure.add_subplot(grid[row, start + i]) for i in range(TILES)]
        drawn += tiles
        if place < len(mistakes):
            _draw(tiles, mistakes[place])
        else:
            for tile in tiles:
                hide_frame(tile)
    if not mistakes:
        drawn[1].text(0.5, 0.5, "no image to show", ha="center", va="center", fontsize=LABEL_SIZE)
    else:
        add_scale(figure, drawn, f"{SCALE_LABEL}; {subtitle}")
    return figure


def _draw(tiles: Sequence[Axes], each: Mistake) -> None:
    show_pixels(tiles[0], each.image)
    show_overlay(tiles[1], each.image, each.predicted_map)
    show_overlay(tiles[2], each.image, each.true_map)
    tiles[0].set_title(f"test {each.index}", fontsize=SMALL_SIZE, pad=3)
    tiles[1].set_title(f"says {_short(each.predicted)}\n{percent(each.predicted_probability)}", **_style(WRONG))
    tiles[2].set_title(f"is {_short(each.true)}\n{percent(each.true_probability)}", **_style(RIGHT))


def _style(colour: str) -> dict[str, Any]:
    return {"fontsize": SMALL_SIZE, "color": colour, "pad": 3}


def percent(probability: float) -> str:
    """Write a probability as a person would, without claiming certainty.

    >>> percent(0.123), percent(0.999), percent(0.001)
    ('12%', '>99%', '<1%')
    """
    if probability > 0.995:
        return ">99%"
    return "<1%" if probability < 0.005 else f"{probability:.0%}"


def _short(name: str) -> str:
    return name if len(name) <= MAX_NAME_LENGTH else name[: MAX_NAME_LENGTH - 1] + "\N{HORIZONTAL ELLIPSIS}"
