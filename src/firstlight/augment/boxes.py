"""Boxes in images: whole-pixel rectangles, one for each image of a batch."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Int64
from torch import Tensor

Boxes = Int64[Tensor, "n 4"]  # first row, row after the last, first column, column after the last; all zero: empty


def inside(boxes: Boxes, size_px: tuple[int, int]) -> Bool[Tensor, "n 1 h w"]:
    """Mark the pixels inside of each image's box.

    Args:
        boxes: Boxes, int64 [n 4]; parts beyond the image are ignored.
        size_px: Height and width of the images.

    >>> inside(torch.tensor([[0, 1, 1, 3]]), (2, 3)).int().tolist()
    [[[[0, 1, 1], [0, 0, 0]]]]
    """
    top, bottom, left, right = (side[:, None, None, None] for side in boxes.unbind(1))
    rows = torch.arange(size_px[0], device=boxes.device)[:, None]
    columns = torch.arange(size_px[1], device=boxes.device)
    return (rows >= top) & (rows < bottom) & (columns >= left) & (columns < right)
