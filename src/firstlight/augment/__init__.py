"""Whole-batch augmentation of raw pixels: pure functions, the random numbers are arguments."""

from firstlight.augment.crop import shifted_crop
from firstlight.augment.cutout import cutout
from firstlight.augment.flip import alternate, flip

__all__ = ["alternate", "cutout", "flip", "shifted_crop"]
