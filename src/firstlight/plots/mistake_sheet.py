"""A sheet of misclassified images with the maps of their predicted and their true class."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8
from matplotlib.axes import Axes
from matplotlib.image import AxesImage

from firstlight.plots.figure import LABEL_SIZE, RIGHT, TITLE_SIZE, WRONG, Figure, literal_text
from firstlight.plots.overlay import draw_colour_bar, has_evidence, overlay, write_no_evidence

TILES = 3  # for each mistake: the image, the map of the predicted class, the map of the true class
MAX_NAME_LENGTH = 17
MAX_FILE_NAME_LENGTH = 15

# Lengths in inches
TILE = 1.55
TILE_GAP, MISTAKE_GAP, MARGIN = 0.03, 0.34, 0.1
BAR_HEIGHT = 0.1
LABEL_LETTER = 0.0073  # width of a character of the colour bar's label, for each point of the font size
TITLE_LETTER, TITLE_LINE = 0.11, 0.26  # width of a character and height of a line

LINE_HEIGHT = 1.25 / 72  # inches for each point of the font size


@literal_text
def mistake_sheet(
    images: Sequence[UInt8[np.ndarray, "3 h w"]],
    maps: Sequence[tuple[Float[np.ndarray, "h w"], Float[np.ndarray, "h w"]]],
    captions: Sequence[tuple[str, str, str]],
    title: str,
    scale_label: str,
    num_columns: int = 3,
    font_size: float = LABEL_SIZE,
) -> Figure:
    """Draw misclassified images, each beside the maps for its predicted and for its true class.

    All tiles are in one Axes whose unit is an inch: an Axes and a layout engine for each tile would take
    four times as long.

    Args:
        images: Images in the order in which they are drawn, row by row, uint8 [3 h w].
        maps: Evidence for the predicted and for the true class of each image, raw and signed, float [h w].
        captions: Texts above each image, above its first map and above its second map; at most two lines.
        title: Title of the sheet.
        scale_label: Label of the colour bar, of one or several lines.
        num_columns: Number of mistakes in a row.
        font_size: Font size of the captions and of the colour bar, in points.
    """
    layout = _Layout(len(images), max(1, min(num_columns, len(images))), title, scale_label, font_size)
    figure = Figure(figsize=(layout.width, layout.height), layout=None)
    figure.suptitle(layout.title, fontsize=TITLE_SIZE, y=1 - MARGIN / layout.height, va="top")
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, layout.width), ylim=(layout.height, 0))
    axes.set_axis_off()
    for index, (image, evidence, texts) in enumerate(zip(images, maps, captions, strict=True)):
        _draw(axes, layout, index, image, evidence, texts)
    if images:
        bottom = layout.bar_height - MARGIN - BAR_HEIGHT
        bar = (0.25, bottom / layout.height, 0.5, BAR_HEIGHT / layout.height)
        draw_colour_bar(figure.add_axes(bar), scale_label, font_size)
    else:
        middle = layout.first_row + layout.row_height / 2
        axes.text(layout.width / 2, middle, "no image to show", ha="center", va="center", fontsize=LABEL_SIZE)
    return figure


@dataclass(frozen=True)
class _Layout:
    """Sizes and positions on the sheet, in inches from its upper left corner."""

    num_images: int
    num_columns: int
    whole_title: str
    scale_label: str
    font_size: float

    @property
    def width(self) -> float:
        label = max(map(len, self.scale_label.splitlines())) * self.font_size * LABEL_LETTER
        return max(_width_of(self.num_columns), label) + 2 * MARGIN

    @property
    def height(self) -> float:
        num_rows = max(1, -(-self.num_images // self.num_columns))
        return self.first_row + num_rows * self.row_height + self.bar_height

    @property
    def title(self) -> str:
        return "\n".join(textwrap.wrap(self.whole_title, int(self.width / TITLE_LETTER)))

    @property
    def first_row(self) -> float:
        return 2 * MARGIN + (self.title.count("\n") + 1) * TITLE_LINE

    @property
    def row_height(self) -> float:
        return 2 * self.line + TILE + MARGIN

    @property
    def bar_height(self) -> float:
        return 2 * MARGIN + BAR_HEIGHT + (2.6 + self.scale_label.count("\n")) * self.line

    @property
    def line(self) -> float:
        return self.font_size * LINE_HEIGHT

    def tile(self, index: int, number: int) -> tuple[float, float]:
        """Return the upper left corner of a tile (0 to 2) of a mistake."""
        row, column = divmod(index, self.num_columns)
        left = (self.width - _width_of(self.num_columns)) / 2
        left += column * (_width_of(1) + MISTAKE_GAP) + number * (TILE + TILE_GAP)
        return left, self.first_row + row * self.row_height + 2 * self.line


def _width_of(num_mistakes: int) -> float:
    return num_mistakes * (TILES * TILE + (TILES - 1) * TILE_GAP) + (num_mistakes - 1) * MISTAKE_GAP


def _draw(
    axes: Axes,
    layout: _Layout,
    index: int,
    image: UInt8[np.ndarray, "3 h w"],
    maps: tuple[Float[np.ndarray, "h w"], Float[np.ndarray, "h w"]],
    captions: tuple[str, str, str],
) -> None:
    tiles = (image.transpose(1, 2, 0), *(overlay(image, evidence) for evidence in maps))
    for number, (pixels, caption, colour) in enumerate(zip(tiles, captions, ("black", WRONG, RIGHT), strict=True)):
        left, top = layout.tile(index, number)
        extent = _extent(left, top, *pixels.shape[:2])
        axes.add_image(_nearest(axes, pixels, extent))
        axes.text(
            left + TILE / 2, top - 0.05, caption, color=colour, ha="center", va="bottom", fontsize=layout.font_size
        )
        if number and not has_evidence(maps[number - 1]):
            write_no_evidence(axes, left + TILE / 2, top + TILE / 2, layout.font_size)


def _extent(left: float, top: float, height_px: int, width_px: int) -> tuple[float, float, float, float]:
    """Return left, right, bottom and top of an image that fills a tile as far as its shape allows."""
    scale = TILE / max(height_px, width_px)
    width, height = width_px * scale, height_px * scale
    left += (TILE - width) / 2
    return left, left + width, top + TILE, top + TILE - height


def _nearest(axes: Axes, pixels: UInt8[np.ndarray, "h w 3"], extent: tuple[float, float, float, float]) -> AxesImage:
    image = AxesImage(axes, interpolation="nearest", extent=extent, origin="upper")
    image.set_data(pixels)
    return image


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
