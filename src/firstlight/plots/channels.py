"""One image beside its red, green and blue channels."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int64, UInt8
from matplotlib.axes import Axes

from firstlight.plots.figure import LABEL_SIZE, SMALL_SIZE, TITLE_SIZE, Figure, hide_frame, literal_text, show_pixels

CHANNELS = ("red", "green", "blue")
INKS = ("#c8242b", "#2a8a3a", "#2b5fc4")  # colours of the histograms, dark enough to read on white
NUM_BINS, LEVELS_PER_BIN = 32, 8
INCHES_PER_TILE, INCHES_PER_HISTOGRAM = 1.9, 1.2
IMAGE_TILES = 1.6  # width of the whole image, in tiles


@literal_text
def colour_channels(image: UInt8[np.ndarray, "3 h w"], title: str) -> Figure:
    """Draw an image, its channels in grey and in their own colour, and the histogram of each channel.

    The upper row shows each channel in grey levels, white for 255. The row below shows the same values as shades of
    the channel's colour; the three tinted images add up to the image.

    Args:
        image: Image, uint8 [3 h w].
        title: Title of the figure.

    >>> [axes.get_title() for axes in colour_channels(np.zeros((3, 4, 4), np.uint8), "black").axes[:4]]
    ['the image', 'all three', 'red, as intensity', 'red, tinted']
    """
    height, width = image.shape[1:]
    tile = INCHES_PER_TILE * height / width
    figure = Figure(figsize=((3 + IMAGE_TILES) * INCHES_PER_TILE + 0.6, 2 * (tile + 0.3) + INCHES_PER_HISTOGRAM + 1.0))
    figure.suptitle(title, fontsize=TITLE_SIZE)
    grid = figure.add_gridspec(
        3, 4, width_ratios=[IMAGE_TILES, 1, 1, 1], height_ratios=[tile, tile, INCHES_PER_HISTOGRAM]
    )
    whole = figure.add_subplot(grid[:2, 0])
    show_pixels(whole, image)
    whole.set_title("the image", fontsize=LABEL_SIZE)
    together = figure.add_subplot(grid[2, 0])
    for channel, name in enumerate(CHANNELS):
        grey = figure.add_subplot(grid[0, channel + 1])
        grey.imshow(image[channel], cmap="gray", vmin=0, vmax=255, interpolation="nearest")
        hide_frame(grey)
        grey.set_title(f"{name}, as intensity", fontsize=LABEL_SIZE)
        colours = figure.add_subplot(grid[1, channel + 1])
        show_pixels(colours, tinted(image, channel))
        colours.set_title(f"{name}, tinted", fontsize=LABEL_SIZE)
        histogram = figure.add_subplot(grid[2, channel + 1], sharex=together, sharey=together)
        _draw_histogram(histogram, image, channel)
    _draw_outlines(together, image)
    return figure


def tinted(image: UInt8[np.ndarray, "3 h w"], channel: int) -> UInt8[np.ndarray, "3 h w"]:
    """Return an image of one channel with the other channels zero; the three sum to the image.

    Args:
        image: Image, uint8 [3 h w].
        channel: Index of the channel, 0 to 2.

    >>> tinted(np.full((3, 1, 1), 7, np.uint8), 1).ravel().tolist()
    [0, 7, 0]
    """
    tinted_image = np.zeros_like(image)
    tinted_image[channel] = image[channel]
    return tinted_image


def channel_histograms(image: UInt8[np.ndarray, "3 h w"]) -> Int64[np.ndarray, "3 bins"]:
    """Return histograms of the channels, in bins of eight levels: 0 to 7, 8 to 15, ..., 248 to 255.

    Args:
        image: Image, uint8 [3 h w].

    Returns:
        Number of pixels in each bin, int64 [3 32].

    >>> channel_histograms(np.array([[[0, 7]], [[8, 8]], [[255, 0]]], np.uint8))[:, [0, 1, 31]].tolist()
    [[2, 0, 0], [0, 2, 0], [1, 0, 1]]
    """
    return np.stack([np.bincount(channel.ravel() // LEVELS_PER_BIN, minlength=NUM_BINS) for channel in image])


def _bin_edges() -> np.ndarray:
    return np.arange(NUM_BINS + 1) * LEVELS_PER_BIN


def _draw_histogram(axes: Axes, image: UInt8[np.ndarray, "3 h w"], channel: int) -> None:
    mean = float(image[channel].mean())
    axes.stairs(channel_histograms(image)[channel], _bin_edges(), fill=True, color=INKS[channel])
    axes.axvline(mean, color="black", linewidth=1, linestyle=":")
    axes.set_title(f"{CHANNELS[channel]}: mean {mean:.0f}, std {image[channel].std():.0f}", fontsize=LABEL_SIZE)
    axes.tick_params(labelleft=False, labelsize=SMALL_SIZE)
    _style_axes(axes)


def _draw_outlines(axes: Axes, image: UInt8[np.ndarray, "3 h w"]) -> None:
    for counts, ink in zip(channel_histograms(image), INKS, strict=True):
        axes.stairs(counts, _bin_edges(), color=ink, linewidth=1.4)
    axes.set_title("all three", fontsize=LABEL_SIZE)
    axes.set_xticks([0, 64, 128, 192, 255])
    axes.set_xlim(0, NUM_BINS * LEVELS_PER_BIN)
    axes.set_ylim(bottom=0)
    axes.set_ylabel(f"pixels, of {image[0].size:,}", fontsize=LABEL_SIZE)
    axes.tick_params(labelsize=SMALL_SIZE)
    _style_axes(axes)


def _style_axes(axes: Axes) -> None:
    axes.set_xlabel("intensity", fontsize=LABEL_SIZE)
    axes.spines[["top", "right"]].set_visible(False)
