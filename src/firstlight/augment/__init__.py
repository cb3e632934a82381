"""Whole-batch augmentation of raw pixels: pure functions, the random numbers are arguments."""

from firstlight.augment.crop import center_crop, shifted_crop
from firstlight.augment.cutout import cutout
from firstlight.augment.flip import alternate, flip
from firstlight.augment.resize import resized

__all__ = ["alternate", "center_crop", "cutout", "flip", "resized", "shifted_crop"]
