"""The `Figure` class of all plots, and helpers that draw images and save figures."""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import cache, wraps
from pathlib import Path
from typing import Any, ParamSpec

import matplotlib
import matplotlib.figure
import numpy as np
from jaxtyping import UInt8
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

from firstlight.files import atomic

INCHES_PER_TILE = 1.25
TITLE_SIZE, LABEL_SIZE, SMALL_SIZE = 13.0, 9.0, 8.0
RIGHT, WRONG = "#1b7837", "#b2182b"  # right and wrong classes: readable on white, distinct for the colour-blind

# Fallback fonts for characters that matplotlib's default font lacks, if they are installed.
FONTS_OF_OTHER_SCRIPTS = (
    *("Noto Sans CJK SC", "Noto Sans CJK JP", "Source Han Sans SC", "WenQuanYi Micro Hei", "WenQuanYi Zen Hei"),
    *("PingFang SC", "Hiragino Sans", "Apple SD Gothic Neo", "Arial Unicode MS"),
    *("Microsoft YaHei", "Yu Gothic", "Malgun Gothic", "Nirmala UI", "Segoe UI Symbol"),
    *("Noto Sans Devanagari", "Noto Sans Thai", "Noto Emoji"),
)
_Arguments = ParamSpec("_Arguments")


class Figure(matplotlib.figure.Figure):
    """A matplotlib Figure that needs no pyplot and that notebooks display.

    Args:
        **options: Arguments of `matplotlib.figure.Figure`; the defaults are constrained layout and 150 dots per inch.
    """

    def __init__(self, **options: Any) -> None:
        defaults: dict[str, Any] = {"layout": "constrained", "dpi": 150}
        super().__init__(**(defaults | options))
        FigureCanvasAgg(self)

    def _repr_png_(self) -> bytes:
        return self.png()

    def png(self) -> bytes:
        """Return the figure as a PNG file."""
        stream = io.BytesIO()
        self.savefig(stream, format="png")
        return stream.getvalue()


def literal_text(plot: Callable[_Arguments, Figure]) -> Callable[_Arguments, Figure]:
    """Decorate a plot so that it draws texts literally, `$x$` included, with fallback fonts for other scripts."""

    @wraps(plot)
    def plot_literally(*arguments: _Arguments.args, **options: _Arguments.kwargs) -> Figure:
        families = [*matplotlib.rcParams["font.family"], *_installed_fonts()]
        with matplotlib.rc_context({"text.parse_math": False, "font.family": families}):
            return plot(*arguments, **options)

    return plot_literally


@cache
def _installed_fonts() -> list[str]:
    installed = set(font_manager.get_font_names())
    return [name for name in FONTS_OF_OTHER_SCRIPTS if name in installed]


def show_pixels(axes: Axes, image: UInt8[np.ndarray, "3 h w"]) -> None:
    """Draw an image without interpolation, ticks or frame.

    Args:
        axes: Axes to draw on.
        image: Image, uint8 [3 h w].
    """
    axes.imshow(image.transpose(1, 2, 0), interpolation="nearest")
    hide_frame(axes)


def hide_frame(axes: Axes) -> None:
    """Remove ticks and frame."""
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)


def png_pixels(png: bytes) -> UInt8[np.ndarray, "h w 3"]:
    """Return the pixels of a PNG file without its opacity, uint8 [h w 3]."""
    with Image.open(io.BytesIO(png)) as image:
        return np.asarray(image.convert("RGB"))


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure to a file atomically; the suffix of the path chooses the format."""
    with atomic(path) as temporary:
        figure.savefig(temporary, format=path.suffix.removeprefix("."))
