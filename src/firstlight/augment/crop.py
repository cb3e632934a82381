"""Crops: random translations with reflected borders, and centre crops at a smaller size."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from firstlight.arrays import Images, Offsets, UnitImages


def shifted_crop(images: Images, down: Offsets, right: Offsets) -> Images:
    """Shift the crop window of each image by whole pixels; pixels beyond the image are reflected.

    Equal to padding every side with its mirror image (the edge pixel is not repeated) and cropping at the original
    size, `down` rows below and `right` columns right of the centre. Offsets must be smaller than the image.

    Args:
        images: Raw pixels, uint8 [n 3 h w].
        down: Rows by which the window moves down, int64 [n], may be negative.
        right: Columns by which the window moves right, int64 [n], may be negative.

    Returns:
        Shifted images, uint8 [n 3 h w], channels_last in memory.

    >>> row = torch.tensor([[[[1, 2, 3, 4]]]], dtype=torch.uint8).expand(1, 3, 1, 4)
    >>> shifted_crop(row, down=torch.tensor([0]), right=torch.tensor([2]))[0, 0].tolist()
    [[3, 4, 3, 2]]
    """
    rows = _reflect(torch.arange(images.shape[2], device=images.device) + down[:, None], images.shape[2])
    columns = _reflect(torch.arange(images.shape[3], device=images.device) + right[:, None], images.shape[3])
    which = torch.arange(len(images), device=images.device)
    pixels = images.permute(0, 2, 3, 1)  # [n h w 3]: one index moves a whole pixel
    moved = pixels[which[:, None, None], rows[:, :, None], columns[:, None, :]]
    return moved.permute(0, 3, 1, 2)


def center_crop(images: UnitImages, size_px: tuple[int, int]) -> Float[Tensor, "n 3 height width"]:
    """Crop the centre of the images; of an odd number of removed rows or columns, one more is removed at the end.

    Args:
        images: Images in [0, 1], float [n 3 h w].
        size_px: Height and width, at most those of the images.

    Returns:
        Float [n 3 height width], channels_last in memory; the images themselves if they have that size.

    >>> center_crop(torch.arange(5.0).expand(1, 3, 5, 5), (2, 2))[0, 0, 0].tolist()
    [1.0, 2.0]
    """
    if images.shape[2:] == size_px:
        return images
    top, left = ((whole - side) // 2 for whole, side in zip(images.shape[2:], size_px, strict=True))
    inner = images[:, :, top : top + size_px[0], left : left + size_px[1]]
    return inner.contiguous(memory_format=torch.channels_last)


def _reflect(index: Int64[Tensor, "n s"], size: int) -> Int64[Tensor, "n s"]:
    """Fold indices outside 0 .. size-1 back inside, mirrored at the edge pixel."""
    inside = index.abs()
    last = size - 1
    return last - (last - inside).abs()
