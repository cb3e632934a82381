"""Overlay of an attribution map on its image, normalized for display only."""

from __future__ import annotations

from typing import Any

import matplotlib
import numpy as np
from jaxtyping import Float, UInt8
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colorbar import Colorbar

from firstlight.plots.figure import SMALL_SIZE, Figure, hide_frame

COLOUR_MAP = "inferno"  # perceptually uniform: equal differences of evidence look equal
DEFAULT_OPACITY = 0.6
NO_EVIDENCE = "no positive\nevidence"
NOISE = 1e-6  # positive values below this share of the largest absolute value are rounding errors
SCALE_LABEL = "positive evidence, as a share of the map's largest absolute value"
GREY_WEIGHTS = np.array([0.299, 0.587, 0.114])  # luma of ITU-R BT.601


def overlay(
    image: UInt8[np.ndarray, "3 h w"], evidence: Float[np.ndarray, "h w"], opacity: float = DEFAULT_OPACITY
) -> UInt8[np.ndarray, "h w 3"]:
    """Return the image in grey with the positive part of a map as colours.

    The map is divided by its largest absolute value. Colours therefore compare positions within one image, not
    different images, and weak positive evidence beside strong negative evidence stays dark. The image is grey, so that
    every colour in the result is evidence. A map without positive evidence leaves the grey image unchanged.

    Args:
        image: Image, uint8 [3 h w].
        evidence: Signed map at the size of the image, float [h w].
        opacity: Opacity of the colours, 0 to 1.

    Returns:
        RGB image, uint8 [h w 3].

    >>> dark = np.zeros((3, 1, 2), np.uint8)
    >>> overlay(dark, np.array([[-1.0, -2.0]]))[0, 0].tolist()
    [0, 0, 0]
    >>> overlay(dark, np.array([[0.0, 2.0]]), opacity=1.0)[0, 1].tolist()  # the brightest colour
    [252, 255, 164]
    """
    grey = np.repeat(np.tensordot(GREY_WEIGHTS, image.astype(float), 1)[:, :, None], 3, axis=2)
    if not has_evidence(evidence):
        return grey.round().astype(np.uint8)
    share = evidence.clip(min=0) / np.abs(evidence).max()
    colours = matplotlib.colormaps[COLOUR_MAP](share)[:, :, :3] * 255
    return ((1 - opacity) * grey + opacity * colours).round().astype(np.uint8)


def has_evidence(evidence: Float[np.ndarray, "h w"]) -> bool:
    """Return whether a map has positive evidence, apart from rounding errors."""
    return bool(evidence.max() > NOISE * np.abs(evidence).max())


def show_overlay(
    axes: Axes,
    image: UInt8[np.ndarray, "3 h w"],
    evidence: Float[np.ndarray, "h w"],
    opacity: float = DEFAULT_OPACITY,
) -> None:
    """Draw an overlay; a map without positive evidence gets a label instead of amplified noise.

    Args:
        axes: Axes to draw on.
        image: Image, uint8 [3 h w].
        evidence: Signed map at the size of the image, float [h w].
        opacity: Opacity of the colours, 0 to 1.
    """
    axes.imshow(overlay(image, evidence, opacity), interpolation="nearest")
    hide_frame(axes)
    if not has_evidence(evidence):
        write_no_evidence(axes, 0.5, 0.5, SMALL_SIZE, transform=axes.transAxes)


def write_no_evidence(axes: Axes, x: float, y: float, font_size: float, **options: Any) -> None:
    """Write over an overlay that its map has no positive evidence, centred at a position of the axes."""
    box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 2}
    axes.text(x, y, NO_EVIDENCE, ha="center", va="center", fontsize=font_size, bbox=box, **options)


def add_colour_bar(figure: Figure, axes: object, label: str = SCALE_LABEL) -> None:
    """Add the colour bar that all overlays in the figure share, below some axes."""
    bar = figure.colorbar(ScalarMappable(cmap=COLOUR_MAP), ax=axes, location="bottom", shrink=0.5, aspect=45, pad=0.01)  # type: ignore[arg-type]
    _label(bar, label, SMALL_SIZE)


def draw_colour_bar(axes: Axes, label: str, font_size: float) -> None:
    """Fill axes with the colour bar that all overlays in the figure share; its labels are below the axes."""
    bar = axes.figure.colorbar(ScalarMappable(cmap=COLOUR_MAP), cax=axes, orientation="horizontal")
    _label(bar, label, font_size)


def _label(bar: Colorbar, label: str, font_size: float) -> None:
    bar.set_ticks([0, 0.5, 1], labels=["0", "0.5", "1"])
    bar.set_label(label, fontsize=font_size)
    bar.ax.tick_params(labelsize=font_size)
