"""Deletion and insertion for one image, pixel by pixel in plain Python."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn


def deletion_curve(
    network: nn.Module, image: Tensor, cam: Tensor, label: int, replacement: Tensor, num_steps: int
) -> list[float]:
    """Probability of the class as the pixels of `image` [3 h w] are replaced, largest value of `cam` [h w] first."""
    rows, columns = cam.shape
    pixels = [(row, column) for row in range(rows) for column in range(columns)]
    pixels.sort(key=lambda pixel: -float(cam[pixel]))
    curve = []
    for step in range(num_steps + 1):
        changed = image.clone()
        for row, column in pixels[: round(step * len(pixels) / num_steps)]:
            changed[:, row, column] = replacement[:, row, column]
        with torch.no_grad():
            curve.append(float(network(changed[None])[0].softmax(dim=0)[label]))
    return curve


def area(curve: list[float]) -> float:
    """Area under the curve by trapezoids of width 1 / steps."""
    return sum((a + b) / 2 for a, b in pairwise(curve)) / (len(curve) - 1)
