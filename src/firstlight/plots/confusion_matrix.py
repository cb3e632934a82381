"""Figure of a confusion matrix."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int64
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb

from firstlight.plots.figure import LABEL_SIZE, RIGHT, TITLE_SIZE, WRONG, Figure, literal_text

DIGIT_INCHES = 0.085  # approximate width of a digit at LABEL_SIZE
CELL_INCHES = 0.42  # smallest side of a cell; the numbers of 100 classes stay readable
LINE_INCHES = 0.15  # height of a line of text
MARGIN_INCHES, TITLE_INCHES = 0.25, 0.6
MAX_CLASSES_WITH_ZEROS = 30  # larger matrices leave the cells of 0 empty
MAX_TINT = 0.45  # opacity of the strongest cell colour: dark text stays readable on it
NAME_LENGTH = 24  # characters of a class name in one line
INK, PALE_INK = "#222222", "#6f6f6f"


@literal_text
def confusion_figure(counts: Int64[np.ndarray, "k k"], class_names: Sequence[str], title: str) -> Figure:
    """Draw a confusion matrix with the number of images in every cell.

    The colour of a cell is its share of the images of its true class: green on the diagonal, red elsewhere. Names of
    any length are drawn whole, in several lines if they are long. With more than 30 classes, an empty cell means 0.

    Args:
        counts: Number of images by true class (row) and predicted class (column), int64 [k k].
        class_names: Name of each class.
        title: Title of the figure.

    >>> figure = confusion_figure(np.array([[3, 1], [0, 4]]), ["cat", "dog"], "two classes")
    >>> [text.get_text() for text in figure.axes[0].texts]
    ['3', '1', '0', '4']
    """
    num_classes = len(counts)
    names = [_wrapped(name) for name in class_names]
    num_lines = max(name.count("\n") + 1 for name in names)
    cell = max(CELL_INCHES, DIGIT_INCHES * (len(f"{counts.max(initial=0):,}") + 1), LINE_INCHES * (num_lines + 1))
    figure = Figure(layout="none", figsize=(cell * num_classes, cell * num_classes))
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.imshow(_cell_colours(counts), interpolation="nearest")
    _write_counts(axes, counts)
    axes.set_yticks(range(num_classes), names, fontsize=LABEL_SIZE)
    axes.set_xticks(range(num_classes), names, fontsize=LABEL_SIZE, rotation=90)
    axes.tick_params(length=0)
    axes.set_ylabel("true class", fontsize=LABEL_SIZE)
    axes.set_xlabel("predicted class", fontsize=LABEL_SIZE)
    for edge in axes.spines.values():
        edge.set_color("#cccccc")
    _fit(figure, axes, cell * num_classes, title)
    return figure


def _write_counts(axes: Axes, counts: Int64[np.ndarray, "k k"]) -> None:
    for true, predicted in np.ndindex(counts.shape):
        count = int(counts[true, predicted])
        if count or len(counts) <= MAX_CLASSES_WITH_ZEROS:
            colour, weight = INK if count else PALE_INK, "bold" if true == predicted else "normal"
            text = axes.text(predicted, true, f"{count:,}", fontsize=LABEL_SIZE, color=colour, weight=weight)
            text.set(ha="center", va="center")


def _cell_colours(counts: Int64[np.ndarray, "k k"]) -> Float[np.ndarray, "k k 3"]:
    """Return the colour of each cell, RGB in [0, 1]: white, tinted by the cell's share of its row."""
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    on_diagonal = np.eye(len(counts), dtype=bool)[:, :, None]
    full = np.where(on_diagonal, to_rgb(RIGHT), to_rgb(WRONG))
    opacity = MAX_TINT * np.sqrt(shares)[:, :, None]  # the square root makes rare confusions visible
    return 1 - opacity * (1 - full)


def _wrapped(name: str) -> str:
    return "\n".join(textwrap.wrap(name, NAME_LENGTH, break_long_words=True)) or name


def _fit(figure: Figure, axes: Axes, side: float, title: str) -> None:
    """Enlarge the figure so that the matrix has `side` inches and names and title fit exactly."""
    heading = figure.suptitle(title, fontsize=TITLE_SIZE, va="center")
    axes.set_position((0.0, 0.0, 1.0, 1.0))
    renderer = figure.canvas.get_renderer()  # type: ignore[attr-defined]
    bounds = axes.get_tightbbox(renderer)
    assert bounds is not None
    origin = axes.get_window_extent(renderer)
    left = (origin.x0 - bounds.x0) / figure.dpi + MARGIN_INCHES
    below = (origin.y0 - bounds.y0) / figure.dpi + MARGIN_INCHES
    title_width = heading.get_window_extent(renderer).width / figure.dpi + 2 * MARGIN_INCHES
    right = max(0.0, (bounds.x1 - origin.x1) / figure.dpi) + MARGIN_INCHES
    above = max(0.0, (bounds.y1 - origin.y1) / figure.dpi) + TITLE_INCHES
    width, height = max(left + side + right, title_width), below + side + above
    figure.set_size_inches(width, height)
    axes.set_position((left / width, below / height, side / width, side / height))
    heading.set_position((0.5, 1 - TITLE_INCHES / 2 / height))
