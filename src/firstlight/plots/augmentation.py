"""A sheet of the augmented views of one image, epoch by epoch."""

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
WARPING = ("shear", "translate", "rotate")  # operations after which the border of the original is no rectangle


@dataclass(frozen=True)
class AugmentedImage:
    """One augmented image of one epoch, with the parameters of its augmentation.

    Args:
        image: Augmented pixels, uint8 [3 h w].
        epoch: Epoch, counted from 0. The figure counts from 1, as learning curves do.
        down_px: Rows by which the crop window moved down, so that its content moved up; may be negative.
        right_px: Columns by which the crop window moved right, so that its content moved left; may be negative.
        mirrored: Whether the crop was then mirrored left to right.
        cutout: Row and column of the centre of the cut-out square; None without cutout.
        operation: Operation of TrivialAugment, in words; empty for none.
        mixture: Other operations, in words, in their order.
    """

    image: UInt8[np.ndarray, "3 h w"]
    epoch: int
    down_px: int = 0
    right_px: int = 0
    mirrored: bool = False
    cutout: tuple[int, int] | None = None
    operation: str = ""
    mixture: tuple[str, ...] = ()

    def descriptions(self) -> list[str]:
        """Return a description of each operation, in order; the content moves opposite to the crop window.

        >>> AugmentedImage(np.zeros((3, 8, 8), np.uint8), 0, down_px=2, right_px=-3, mirrored=True).descriptions()
        ['2 up, 3 right', 'mirrored']
        """
        moves = [
            f"{abs(distance)} {words[distance > 0]}"
            for distance, words in ((self.down_px, ("down", "up")), (self.right_px, ("right", "left")))
            if distance
        ]
        cutout = [] if self.cutout is None else [f"cutout at ({self.cutout[0]}, {self.cutout[1]})"]
        shape = (
            [", ".join(moves)] * bool(moves) + ["mirrored"] * self.mirrored + [self.operation] * bool(self.operation)
        )
        return shape + cutout + list(self.mixture)


@literal_text
def augmentation_sheet(
    original: UInt8[np.ndarray, "3 h w"],
    views: Sequence[AugmentedImage],
    title: str,
    subtitle: str,
    num_columns: int = 6,
) -> Figure:
    """Draw an image and its augmented views, each with a description of its augmentation.

    A white line marks the border of the original image where it is visible; pixels beyond it are reflections.

    Args:
        original: Image before augmentation, uint8 [3 h w].
        views: Augmented images in the order in which they are drawn, row by row.
        title: Title of the sheet.
        subtitle: Text below the sheet, which describes the augmentation.
        num_columns: Number of images in a row.

    >>> black = np.zeros((3, 8, 8), np.uint8)
    >>> figure = augmentation_sheet(black, [AugmentedImage(black, epoch=0)], "black", "seed 0")
    >>> [axes.get_xlabel() for axes in figure.axes]
    ['', 'unchanged']
    """
    num_columns = max(1, min(num_columns, len(views) + 1))
    num_rows = -(-(len(views) + 1) // num_columns)
    num_lines = max((len(view.descriptions()) for view in views), default=0)
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
        axes.set_xlabel("\n".join(view.descriptions()) or "unchanged", fontsize=SMALL_SIZE)
        _outline(axes, view)
    return figure


def _outline(axes: Axes, view: AugmentedImage) -> None:
    """Draw the visible part of the original's border; invisible sides are placed far outside the axes."""
    height, width = view.image.shape[1:]
    rows = _span(-view.down_px, height)
    columns = _span(view.right_px if view.mirrored else -view.right_px, width)
    is_warped = view.operation.startswith(WARPING)
    if (view.down_px or view.right_px) and not is_warped:
        box = Rectangle(
            (columns[0], rows[0]), columns[1] - columns[0], rows[1] - rows[0], fill=False, edgecolor="white"
        )
        box.set_path_effects([withStroke(linewidth=2, foreground="black")])  # visible on light and dark pixels
        axes.add_patch(box)


def _span(moved_px: int, size_px: int) -> tuple[float, float]:
    """Return where the original begins and ends along one axis; pixel i extends from i - 0.5 to i + 0.5.

    >>> _span(2, 8), _span(-3, 8)
    ((1.5, 16.0), (-8.0, 4.5))
    """
    first = moved_px - 0.5 if moved_px > 0 else -float(size_px)
    last = moved_px + size_px - 0.5 if moved_px < 0 else 2.0 * size_px
    return first, last
