"""Misclassified images with what was true and what was predicted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8

from firstlight.plots.figure import RIGHT, SMALL_SIZE, TITLE_SIZE, WRONG, Figure, hide_frame, show_pixels

INCHES_PER_MISTAKE = 1.7
MAX_NAME_LENGTH = 14


@dataclass(frozen=True)
class Mistake:
    """One misclassified image.

    Args:
        image: uint8 [3 h w].
        index: its id in the test split.
        predicted: name of the predicted class.
        predicted_probability: in [0, 1].
        true: name of the true class.
        true_probability: in [0, 1].
    """

    image: UInt8[np.ndarray, "3 h w"]
    index: int
    predicted: str
    predicted_probability: float
    true: str
    true_probability: float


def mistake_sheet(mistakes: Sequence[Mistake], title: str, num_columns: int = 6) -> Figure:
    """Draw misclassified images, each with its index, its predicted and its true label and their probabilities."""
    num_columns = max(1, min(num_columns, len(mistakes)))
    num_rows = max(1, -(-len(mistakes) // num_columns))
    width, height = num_columns * INCHES_PER_MISTAKE, num_rows * (INCHES_PER_MISTAKE + 0.35) + 0.5
    figure = Figure(figsize=(max(width, 5.0), height))
    figure.suptitle(title, fontsize=TITLE_SIZE)
    for place, axes in enumerate(figure.subplots(num_rows, num_columns, squeeze=False).flat):
        if place >= len(mistakes):
            hide_frame(axes)
            continue
        each = mistakes[place]
        show_pixels(axes, each.image)
        axes.set_title(f"test {each.index}", fontsize=SMALL_SIZE, pad=2)
        says = f"{_short(each.predicted)} {each.predicted_probability:.0%}"
        axes.text(0.5, -0.04, says, color=WRONG, **_below(axes))
        axes.text(0.5, -0.15, f"is {_short(each.true)} {each.true_probability:.0%}", color=RIGHT, **_below(axes))
    return figure


def _below(axes: object) -> dict[str, object]:
    return {"transform": axes.transAxes, "ha": "center", "va": "top", "fontsize": SMALL_SIZE}  # type: ignore[attr-defined]


def _short(name: str) -> str:
    return name if len(name) <= MAX_NAME_LENGTH else name[: MAX_NAME_LENGTH - 1] + "\N{HORIZONTAL ELLIPSIS}"
