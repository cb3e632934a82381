"""Resize whole batches of images."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from firstlight.arrays import UnitImages


def resized(images: UnitImages, size_px: tuple[int, int]) -> Float[Tensor, "n 3 height width"]:
    """Resize images by bilinear interpolation with antialiasing.

    Args:
        images: Images in [0, 1], float [n 3 h w].
        size_px: Height and width of the result.

    Returns:
        Float [n 3 height width], channels_last in memory; the images themselves if they have that size.

    >>> row = torch.tensor([0.0, 0.0, 1.0, 1.0]).expand(1, 3, 4, 4)
    >>> [round(value, 2) for value in resized(row, (2, 2))[0, 0, 0].tolist()]
    [0.14, 0.86]
    """
    if images.shape[2:] == size_px:
        return images
    smaller = F.interpolate(images, size=size_px, mode="bilinear", antialias=True)
    return smaller.contiguous(memory_format=torch.channels_last)
