"""A sheet of pictures with the network's input, the map of the predicted class and the most probable classes."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8
from matplotlib.axes import Axes

from firstlight.plots.figure import LABEL_SIZE, SMALL_SIZE, TITLE_SIZE, Figure, hide_frame, literal_text, show_pixels
from firstlight.plots.overlay import SCALE_LABEL, add_colour_bar, show_overlay
from firstlight.plots.samples import shorten

INCHES_PER_TILE = 2.1
BAR = "#4575b4"
MAX_NAME_LENGTH = 28
MAX_LINE_LENGTH = 88  # of the title
MAX_BARS = 10  # more would be unreadable beside a picture


@dataclass(frozen=True)
class PredictedPicture:
    """One picture and its prediction.

    Args:
        name: Name of the picture.
        picture: Original picture, uint8 [3 height width], of any size.
        network_input: Picture at the size of the network's input, uint8 [3 h w].
        evidence: Map of the predicted class, signed and not normalized, float [h w].
        top: Classes with their probabilities, the most probable first. The sheet draws ten, and counts the others.
        note: Warning below the name.
    """

    name: str
    picture: UInt8[np.ndarray, "3 height width"]
    network_input: UInt8[np.ndarray, "3 h w"]
    evidence: Float[np.ndarray, "h w"]
    top: Sequence[tuple[str, float]]
    note: str = ""


@literal_text
def prediction_sheet(predictions: Sequence[PredictedPicture], subtitle: str, model: str = "") -> Figure:
    """Draw a row for each picture: the picture, the network's input, the map, the most probable classes.

    Args:
        predictions: Pictures with their predictions, one for each row.
        subtitle: Method and stage of the maps.
        model: Description of the model that predicts.
    """
    figure = Figure(figsize=(4.6 * INCHES_PER_TILE, len(predictions) * (INCHES_PER_TILE + 0.35) + 1.3))
    title = "Predictions, and the evidence for the most probable class"
    figure.suptitle("\n".join([title, *textwrap.wrap(model, MAX_LINE_LENGTH)]), fontsize=TITLE_SIZE)
    grid = figure.subplots(len(predictions), 4, squeeze=False, width_ratios=[1, 1, 1, 1.3])
    for (picture, network_input, evidence, bars), prediction in zip(grid, predictions, strict=True):
        height, width = prediction.network_input.shape[1:]
        picture.imshow(prediction.picture.transpose(1, 2, 0))
        hide_frame(picture)
        picture.set_title("\n".join(filter(None, (_short(prediction.name), prediction.note))), fontsize=SMALL_SIZE)
        show_pixels(network_input, prediction.network_input)
        network_input.set_title(f"as the model sees it, {width}x{height}", fontsize=SMALL_SIZE)
        show_overlay(evidence, prediction.network_input, prediction.evidence)
        evidence.set_title(f"evidence for {shorten(prediction.top[0][0])}", fontsize=SMALL_SIZE)
        _draw_bars(bars, prediction.top)
    add_colour_bar(figure, grid, f"{SCALE_LABEL}; {subtitle}")
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
