"""Augmentation one pixel at a time: slow and obvious."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def mirrored_index(index: int, size: int) -> int:
    """Reflect an index at the nearest edge, without repeating the edge pixel."""
    if index < 0:
        return 0 + (0 - index)
    if index > size - 1:
        return (size - 1) - (index - (size - 1))
    return index


def shifted_image(image: np.ndarray, down: int, right: int) -> np.ndarray:
    """Return one image [3 h w] through a shifted window."""
    moved = np.zeros_like(image)
    _, height, width = image.shape
    for row in range(height):
        for column in range(width):
            moved[:, row, column] = image[:, mirrored_index(row + down, height), mirrored_index(column + right, width)]
    return moved


def mirrored_image(image: np.ndarray) -> np.ndarray:
    """Return one image [3 h w], mirrored."""
    mirrored = np.zeros_like(image)
    _, height, width = image.shape
    for row in range(height):
        for column in range(width):
            mirrored[:, row, column] = image[:, row, width - 1 - column]
    return mirrored


def cut_image(image: np.ndarray, top: int, left: int, size_px: int, fill: Sequence[int]) -> np.ndarray:
    """Return one image [3 h w] with the part of a square inside it filled."""
    painted = image.copy()
    _, height, width = image.shape
    for row in range(top, top + size_px):
        for column in range(left, left + size_px):
            if 0 <= row < height and 0 <= column < width:
                painted[:, row, column] = fill
    return painted
