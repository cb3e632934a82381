"""A native CPU kernel that selects, shifts, mirrors and scales images in one pass over their pixels.

PyTorch needs five passes. One of them gathers every pixel by its index, which alone takes a twentieth of a step.
"""

from __future__ import annotations

from pathlib import Path

import torch
from jaxtyping import Bool, Int64, UInt8
from torch import Tensor

from firstlight.arrays import Images, Offsets, UnitImages
from firstlight.native.dispatch import is_enabled
from firstlight.native.libraries import call, load_library

SOURCE = Path(__file__).with_name("fused.cpp")
MIN_PIXELS = 2**18  # smallest number of pixels in a batch for which the kernel is faster


def is_faster(images: Images, count: int) -> bool:
    """Whether `shifted_and_flipped` supports `count` of these images, uint8 [n 3 h w], and is faster."""
    if images.device.type != "cpu" or not images.is_contiguous(memory_format=torch.channels_last):
        return False
    if count * images[0, 0].numel() < MIN_PIXELS:
        return False
    return is_enabled("augment") and load_library(SOURCE, "augment") is not None


def shifted_and_flipped(
    images: UInt8[Tensor, "all 3 h w"],
    indices: Int64[Tensor, " n"],
    down: Offsets,
    right: Offsets,
    mirrored: Bool[Tensor, " n"],
) -> UnitImages:
    """Return selected images in [0, 1], each shifted by its own number of pixels and optionally mirrored.

    Equal to `flip(shifted_crop(images[indices], down, right), mirrored) / 255` to the last bit.

    Args:
        images: Raw pixels, uint8 [all 3 h w], channels_last in memory.
        indices: Indices of the images to return, int64 [n].
        down: Rows by which each window moves down, int64 [n]; see `shifted_crop`.
        right: Columns by which each window moves right, int64 [n]; see `shifted_crop`.
        mirrored: Whether to mirror each image, bool [n]; see `flip`.

    Returns:
        Float [n 3 h w], channels_last in memory.
    """
    height, width = images.shape[2:]
    output = torch.empty(len(indices), height, width, images.shape[1])
    arguments = (each.contiguous() for each in (indices, down, right, mirrored))
    sizes, threads = (len(indices), height, width), torch.get_num_threads()
    call(load_library(SOURCE, "augment"), "shift_and_flip", images, *arguments, output, *sizes, threads=threads)
    return output.permute(0, 3, 1, 2)
