"""Pictures with what the model says of them: the picture, what the model sees of it, what it looked at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8
from matplotlib.axes import Axes

from firstlight.plots.figure import LABEL_SIZE, SMALL_SIZE, TITLE_SIZE, Figure, hide_frame, literal_text, show_pixels
from firstlight.plots.overlay import SCALE_LABEL, add_scale, show_overlay
from firstlight.plots.samples import shorten

INCHES_PER_TILE = 2.1
BAR = "#4575b4"
MAX_NAME_LENGTH = 28
MAX_BARS = 10  # as many as can be read beside a picture


@dataclass(frozen=True)
class PredictedPicture:
    """One picture and what the model says of it.

    Args:
        name: of the picture.
        picture: as it is, uint8 [3 height width], any size.
        seen: at the size that the model sees, uint8 [3 h w].
        evidence: for the predicted class, raw and signed, at that size, float [h w].
        top: classes with probabilities, the most probable first; the sheet counts those for which it has no room.
    """

    name: str
    picture: UInt8[np.ndarray, "3 height width"]
    seen: UInt8[np.ndarray, "3 h w"]
    evidence: Float[np.ndarray, "h w"]
    top: Sequence[tuple[str, float]]


@literal_text
def prediction_sheet(predictions: Sequence[PredictedPicture], subtitle: str) -> Figure:
    """Draw a row for each picture: itself, what the model sees, the evidence, the most probable classes.

    Args:
        predictions: One for each row.
        subtitle: how the maps were made.
    """
    figure = Figure(figsize=(4.6 * INCHES_PER_TILE, len(predictions) * (INCHES_PER_TILE + 0.35) + 1.3))
    figure.suptitle("What the model sees, and what it looked at", fontsize=TITLE_SIZE)
    grid = figure.subplots(len(predictions), 4, squeeze=False, width_ratios=[1, 1, 1, 1.3])
    for (picture, seen, evidence, bars), each in zip(grid, predictions, strict=True):
        height, width = each.seen.shape[1:]
        picture.imshow(each.picture.transpose(1, 2, 0))
        hide_frame(picture)
        picture.set_title(_short(each.name), fontsize=SMALL_SIZE)
        show_pixels(seen, each.seen)
        seen.set_title(f"as the model sees it, {width}x{height}", fontsize=SMALL_SIZE)
        show_overlay(evidence, each.seen, each.evidence)
        evidence.set_title(f"evidence for {shorten(each.top[0][0])}", fontsize=SMALL_SIZE)
        _draw_bars(bars, each.top)
    add_scale(figure, grid, f"{SCALE_LABEL}; {subtitle}")
    return figure


def _draw_bars(axes: Axes, top: Sequence[tuple[str, float]]) -> None:
    shown, num_more = top[:MAX_BARS], max(0, len(top) - MAX_BARS)
    bars = axes.barh(range(len(shown)), [probability for _, probability in shown], color=BAR, height=0.26)
    hide_frame(axes)
    axes.set_xlim(0, 1)
    axes.set_ylim(len(shown) + (0.4 if num_more else -0.2), -1)
    for bar, (name, probability) in zip(bars, shown, strict=True):
        axes.text(0, bar.get_y() - 0.05, f"{shorten(name)}  {probability:.1%}", fontsize=LABEL_SIZE, va="bottom")
    if num_more:
        axes.text(0, len(shown), f"and {num_more} less probable", fontsize=SMALL_SIZE, va="center")


def _short(name: str) -> str:
    return name if len(name) <= MAX_NAME_LENGTH else "\N{HORIZONTAL ELLIPSIS}" + name[1 - MAX_NAME_LENGTH :]
