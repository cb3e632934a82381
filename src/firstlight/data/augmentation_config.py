"""The configuration of the augmentation of training images. Imports no PyTorch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

from firstlight.errors import UsageError

Flip = Literal["none", "random", "alternating"]
MAX_ALPHA = 100.0  # of a beta distribution; with more, all shares are 1/2


@dataclass(frozen=True)
class Augmentation:
    """Configuration of the augmentation of the training images.

    The operations are applied in this order: random crop, horizontal flip, TrivialAugment, cutout, random erasing,
    then mixup or CutMix.

    Args:
        crop_px: Largest shift in pixels, vertically and horizontally: a random crop of the image padded by reflection.
            0 shifts nothing.
        flip: When an image is mirrored horizontally: "none" never, "random" with probability 1/2 in each epoch,
            "alternating" in every other epoch (Jordan 2024, arXiv 2404.00498, section 3.6).
        cutout_px: Side in pixels of a square at a random position that is filled with the mean colour (DeVries and
            Taylor 2017, arXiv 1708.04552). 0 turns cutout off.
        trivial_augment: Whether one random operation of random strength changes the geometry or the colours of each
            image (Müller and Hutter 2021, arXiv 2103.10158).
        erasing: Probability that a rectangle of random size is filled with the mean colour (Zhong et al. 2020, arXiv
            1708.04896). 0 turns random erasing off.
        mixup: Parameter alpha of mixup, which averages each image and its label with another one (Zhang et al. 2018,
            arXiv 1710.09412). 0 turns mixup off.
        cutmix: Parameter alpha of CutMix, which replaces a rectangle of each image by that of another one, and mixes
            the labels (Yun et al. 2019, arXiv 1905.04899). 0 turns CutMix off. If mixup is on as well, each image is
            mixed by one of the two.
        mixed_share: Share of the images that mixup and CutMix change.
    """

    crop_px: int = 4
    flip: Flip = "random"
    cutout_px: int = 0
    trivial_augment: bool = False
    erasing: float = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0
    mixed_share: float = 1.0

    def __post_init__(self) -> None:
        if self.crop_px < 0 or self.cutout_px < 0:
            raise UsageError("augmentation.crop_px and augmentation.cutout_px must be 0 or more")
        if self.flip not in get_args(Flip):
            raise UsageError(f"augmentation.flip must be one of {', '.join(get_args(Flip))}, not {self.flip!r}")
        for name, largest in (("erasing", 1.0), ("mixed_share", 1.0), ("mixup", MAX_ALPHA), ("cutmix", MAX_ALPHA)):
            value = getattr(self, name)
            if math.isnan(value) or not 0 <= value <= largest:
                raise UsageError(f"augmentation.{name} must be 0 to {largest:g}, not {value}")

    @property
    def is_mixing(self) -> bool:
        """Whether images and their labels are mixed."""
        return bool(self.mixed_share and (self.mixup or self.cutmix))
