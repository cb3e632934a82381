"""Cutout: fill a square of each image with one colour."""

from __future__ import annotations

import torch
from jaxtyping import UInt8
from torch import Tensor

from firstlight.arrays import Images, Offsets


def cutout(images: Images, top: Offsets, left: Offsets, size_px: int, fill: UInt8[Tensor, 3]) -> Images:
    """Fill a square of each image with a colour (DeVries and Taylor 2017, arXiv 1708.04552, section 3.2).

    Args:
        images: Raw pixels, uint8 [n 3 h w].
        top: First filled row of each image, int64 [n]; the square may extend beyond the image.
        left: First filled column of each image, int64 [n].
        size_px: Side of the square in pixels.
        fill: Colour of the square, uint8 [3]; firstlight uses the mean of the data set.

    Returns:
        A new tensor, uint8 [n 3 h w].

    >>> white = torch.full((1, 3, 2, 3), 255, dtype=torch.uint8)
    >>> grey = torch.tensor([9, 9, 9], dtype=torch.uint8)
    >>> cutout(white, torch.tensor([-1]), torch.tensor([1]), 2, grey)[0, 0].tolist()
    [[255, 9, 9], [255, 255, 255]]
    """
    rows = torch.arange(images.shape[2], device=images.device) - top[:, None]
    columns = torch.arange(images.shape[3], device=images.device) - left[:, None]
    in_rows = (rows >= 0) & (rows < size_px)
    in_columns = (columns >= 0) & (columns < size_px)
    covered = in_rows[:, None, :, None] & in_columns[:, None, None, :]
    return torch.where(covered, fill[:, None, None], images)
