"""Shifting and mirroring in one pass over the pixels, compiled where there is a compiler.

PyTorch's operations need five, of which one looks up the place of every pixel: a twentieth of a training step.
"""

from __future__ import annotations

from pathlib import Path

import torch
from jaxtyping import Bool, Int64, UInt8
from torch import Tensor

from firstlight.arrays import Images, Offsets, UnitImages
from firstlight.native.compiler import call, compiled
from firstlight.native.dispatch import is_enabled

SOURCE = Path(__file__).with_name("fused.cpp")
MIN_PIXELS = 2**18  # of a batch: below, nothing needs to be compiled


def is_faster(images: Images, count: int) -> bool:
    """Return whether `shifted_and_flipped` supports `count` of these images, uint8 [n 3 h w], and is faster."""
    if images.device.type != "cpu" or not images.is_contiguous(memory_format=torch.channels_last):
        return False
    if count * images[0, 0].numel() < MIN_PIXELS:
        return False
    return is_enabled("augment") and compiled(SOURCE) is not None


def shifted_and_flipped(
    images: UInt8[Tensor, "all 3 h w"],
    places: Int64[Tensor, " n"],
    down: Offsets,
    right: Offsets,
    mirrored: Bool[Tensor, " n"],
) -> UnitImages:
    """Return some images, each moved by its own whole number of pixels and then mirrored, or not, in [0, 1].

    The same as `flip(shifted_crop(images[places], down, right), mirrored)` over 255, to the bit.

    Args:
        images: raw pixels, uint8 [all 3 h w], channels_last in memory.
        places: which of them, int64 [n].
        down: see `shifted_crop`, int64 [n].
        right: likewise.
        mirrored: see `flip`, bool [n].

    Returns:
        Float [n 3 h w], channels_last in memory.
    """
    height, width = images.shape[2:]
    output = torch.empty(len(places), height, width, images.shape[1])
    each = (numbers.contiguous() for numbers in (places, down, right, mirrored))
    sizes, threads = (len(places), height, width), torch.get_num_threads()
    call(compiled(SOURCE), "shift_and_flip", images, *each, output, *sizes, threads=threads)
    return output.permute(0, 3, 1, 2)
