"""One image beside its colour channels."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.patches import StepPatch

from firstlight.plots.channels import channel_histograms, colour_channels, tinted
from reference.legible import assert_legible

# Two rows of three pixels: red, green, blue.
TINY = np.array([[[0, 7, 8], [8, 15, 255]], [[16, 16, 16], [16, 16, 16]], [[0, 100, 200], [101, 103, 104]]], np.uint8)


def noise(height: int = 32, width: int = 32) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (3, height, width), dtype=np.uint8)


def test_histograms_counted_by_hand() -> None:
    by_hand = np.zeros((3, 32), int)
    by_hand[0, [0, 1, 31]] = 2, 3, 1  # 0 and 7; 8, 8 and 15; 255
    by_hand[1, 2] = 6
    by_hand[2, [0, 12, 13, 25]] = 1, 3, 1, 1  # 100, 101 and 103 lie between 96 and 103; 200 is the first of its bin
    assert np.array_equal(channel_histograms(TINY), by_hand)


def test_the_histograms_drawn_are_those_of_the_image() -> None:
    figure = colour_channels(TINY, "tiny")
    steps = [patch for axes in figure.axes for patch in axes.patches if isinstance(patch, StepPatch)]
    counts = channel_histograms(TINY)
    assert np.array_equal(np.stack([step.get_data().values for step in steps]), np.concatenate([counts, counts]))
    assert all(np.array_equal(step.get_data().edges, np.arange(0, 257, 8)) for step in steps)
    titles = [axes.get_title() for axes in figure.axes]
    assert "red: mean 49, std 92" in titles  # (0 + 7 + 8 + 8 + 15 + 255) / 6
    assert "green: mean 16, std 0" in titles


def test_channels_are_drawn_in_grey_and_in_their_colour() -> None:
    image = noise()
    figure = colour_channels(image, "noise")
    pictures = {axes.get_title(): axes.images[0] for axes in figure.axes if axes.images}
    assert all(picture.get_interpolation() == "nearest" for picture in pictures.values())
    assert np.array_equal(pictures["the image"].get_array(), image.transpose(1, 2, 0))
    for channel, name in enumerate(("red", "green", "blue")):
        grey = pictures[f"{name}, as intensity"]
        assert np.array_equal(grey.get_array(), image[channel])
        assert (grey.norm.vmin, grey.norm.vmax, grey.get_cmap().name) == (0, 255, "gray")
        colour = np.asarray(pictures[f"{name}, tinted"].get_array())
        assert np.array_equal(colour[:, :, channel], image[channel])
        assert np.delete(colour, channel, axis=2).max() == 0


def test_the_tinted_channels_add_up_to_the_image() -> None:
    assert np.array_equal(tinted(TINY, 0) + tinted(TINY, 1) + tinted(TINY, 2), TINY)


@pytest.mark.parametrize("image", [noise(), noise(16, 28), TINY], ids=["square", "wide", "tiny"])
def test_all_texts_are_legible(image: np.ndarray) -> None:
    assert_legible(colour_channels(image, "drawn train 5585 (six-pointed star): its three colour channels"))
