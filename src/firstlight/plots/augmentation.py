"""What augmentation does to one image, epoch by epoch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke

from firstlight.plots.figure import LABEL_SIZE, SMALL_SIZE, TITLE_SIZE, Figure, hide_frame, literal_text, show_pixels

INCHES_PER_TILE = 1.5


@dataclass(frozen=True)
class AugmentedImage:
    """One image as training sees it in one epoch.

    Args:
        image: uint8 [3 h w].
        epoch: counted from 0; the figure counts from 1, as learning curves do.
        down_px: rows by which the window moved down, so that what it shows moved up; may be negative.
        right_px: columns by which the window moved right, likewise.
        mirrored: whether it was then mirrored left to right.
        cutout: row and column of the painted square's centre; None without one.
    """

    image: UInt8[np.ndarray, "3 h w"]
    epoch: int
    down_px: int = 0
    right_px: int = 0
    mirrored: bool = False
    cutout: tuple[int, int] | None = None

    def steps(self) -> list[str]:
        """Say what was done, in order, as the eye sees it: the picture moves against the window.

        >>> AugmentedImage(np.zeros((3, 8, 8), np.uint8), 0, down_px=2, right_px=-3, mirrored=True).steps()
        ['2 up, 3 right', 'mirrored']
        """
        moves = [
            f"{abs(distance)} {words[distance > 0]}"
            for distance, words in ((self.down_px, ("down", "up")), (self.right_px, ("right", "left")))
            if distance
        ]
        cutout = [] if self.cutout is None else [f"cutout at ({self.cutout[0]}, {self.cutout[1]})"]
        return [", ".join(moves)] * bool(moves) + ["mirrored"] * self.mirrored + cutout


@literal_text
def augmentation_sheet(
    original: UInt8[np.ndarray, "3 h w"],
    views: Sequence[AugmentedImage],
    title: str,
    subtitle: str,
    num_columns: int = 6,
) -> Figure:
    """Draw an image, then its views, each with what was done to it.

    A line marks the edge of the original where it came into view: what lies beyond is reflected.

    Args:
        original: uint8 [3 h w].
        views: in the order in which they are drawn, row by row.
        title: of the sheet.
        subtitle: how the views came about.
        num_columns: images in a row.

    >>> black = np.zeros((3, 8, 8), np.uint8)
    >>> figure = augmentation_sheet(black, [AugmentedImage(black, epoch=0)], "black", "seed 0")
    >>> [axes.get_xlabel() for axes in figure.axes]
    ['', 'as it is']
    """
    num_columns = max(1, min(num_columns, len(views) + 1))
    num_rows = -(-(len(views) + 1) // num_columns)
    num_lines = max((len(view.steps()) for view in views), default=0)
    tile = INCHES_PER_TILE * original.shape[1] / original.shape[2] + 0.24 + 0.14 * num_lines
    width = max(num_columns * INCHES_PER_TILE, 0.13 * len(title), 0.075 * len(subtitle))
    figure = Figure(figsize=(width, num_rows * tile + 0.8))
    figure.suptitle(title, fontsize=TITLE_SIZE)
    figure.supxlabel(subtitle, fontsize=SMALL_SIZE)
    first, *others = figure.subplots(num_rows, num_columns, squeeze=False).flat
    show_pixels(first, original)
    first.set_title("original", fontsize=LABEL_SIZE, fontweight="bold")
    for axes in others:
        hide_frame(axes)
    for axes, view in zip(others, views, strict=False):
        show_pixels(axes, view.image)
        axes.set_title(f"epoch {view.epoch + 1}", fontsize=LABEL_SIZE)
        axes.set_xlabel("\n".join(view.steps()) or "as it is", fontsize=SMALL_SIZE)
        _outline(axes, view)
    return figure


def _outline(axes: Axes, view: AugmentedImage) -> None:
    """Mark the edges of the original that are in view; sides that are not are put far outside."""
    height, width = view.image.shape[1:]
    rows = _span(-view.down_px, height)
    columns = _span(view.right_px if view.mirrored else -view.right_px, width)
    if view.down_px or view.right_px:
        box = Rectangle(
            (columns[0], rows[0]), columns[1] - columns[0], rows[1] - rows[0], fill=False, edgecolor="white"
        )
        box.set_path_effects([withStroke(linewidth=2, foreground="black")])  # seen on any ground
        axes.add_patch(box)


def _span(moved_px: int, size_px: int) -> tuple[float, float]:
    """Where the original begins and ends along one axis; pixels are squares around whole numbers.

    >>> _span(2, 8), _span(-3, 8)
    ((1.5, 16.0), (-8.0, 4.5))
    """
    first = moved_px - 0.5 if moved_px > 0 else -float(size_px)
    last = moved_px + size_px - 0.5 if moved_px < 0 else 2.0 * size_px
    return first, last
