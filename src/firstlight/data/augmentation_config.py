"""The configuration of the augmentation of training images. Imports no PyTorch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from firstlight.errors import UsageError

Flip = Literal["none", "random", "alternating"]


@dataclass(frozen=True)
class Augmentation:
    """Configuration of the augmentation of the training images: random crop, horizontal flip and cutout.

    Args:
        crop_px: Largest shift in pixels, vertically and horizontally: a random crop of the image padded by reflection.
            0 shifts nothing.
        flip: When an image is mirrored horizontally: "none" never, "random" with probability 1/2 in each epoch,
            "alternating" in every other epoch (Jordan 2024, arXiv 2404.00498, section 3.6).
        cutout_px: Side in pixels of a square at a random position that is filled with the mean colour (DeVries and
            Taylor 2017, arXiv 1708.04552). 0 turns cutout off.
    """

    crop_px: int = 4
    flip: Flip = "random"
    cutout_px: int = 0

    def __post_init__(self) -> None:
        if self.crop_px < 0 or self.cutout_px < 0:
            raise UsageError("augmentation.crop_px and augmentation.cutout_px must be 0 or more")
        if self.flip not in get_args(Flip):
            raise UsageError(f"augmentation.flip must be one of {', '.join(get_args(Flip))}, not {self.flip!r}")
