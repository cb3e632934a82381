"""Changes of colour, each with its own strength for each image; equal to those of Pillow.

The functions take and return raw pixels, uint8 [n 3 h w].
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor
from torch.nn import functional as F

from firstlight.arrays import Images

Factors = Float[Tensor, " n"]
LUMA = (19595 / 2**16, 38470 / 2**16, 7471 / 2**16)  # the weights of ITU-R 601-2 as Pillow rounds them
SMOOTH = ((1.0, 1.0, 1.0), (1.0, 5.0, 1.0), (1.0, 1.0, 1.0))  # of Pillow's ImageFilter.SMOOTH, whose sum is 13


def brightness(images: Images, factors: Factors) -> Images:
    """Multiply all values; 0 gives black images, 1 the images themselves (Pillow's `ImageEnhance.Brightness`)."""
    return _blend(torch.zeros_like(images).float(), images, factors)


def saturation(images: Images, factors: Factors) -> Images:
    """Move away from the grey image; 0 gives grey images (Pillow's `ImageEnhance.Color`)."""
    return _blend(_grey(images).expand(images.shape), images, factors)


def contrast(images: Images, factors: Factors) -> Images:
    """Move away from the mean of the grey image; 0 gives uniform images (Pillow's `ImageEnhance.Contrast`)."""
    mean = (_grey(images).mean(dim=(1, 2, 3), keepdim=True) + 0.5).floor()
    return _blend(mean.expand(images.shape), images, factors)


def sharpness(images: Images, factors: Factors) -> Images:
    """Move away from the smoothed image; above 1 sharpens (Pillow's `ImageEnhance.Sharpness`)."""
    kernel = (torch.tensor(SMOOTH, device=images.device) / 13).expand(3, 1, 3, 3)
    smooth = images.float()
    inner = F.conv2d(smooth, kernel, groups=3)
    smooth[:, :, 1:-1, 1:-1] = (inner + 0.5).floor()
    return _blend(smooth, images, factors)


def posterize(images: Images, bits: Int64[Tensor, " n"]) -> Images:
    """Keep the highest bits of each value (Pillow's `ImageOps.posterize`)."""
    mask = (256 - 2 ** (8 - bits)).to(torch.uint8)
    return images & mask[:, None, None, None]


def solarize(images: Images, thresholds: Factors) -> Images:
    """Invert the values from a threshold on (Pillow's `ImageOps.solarize`)."""
    return torch.where(images >= thresholds[:, None, None, None], 255 - images, images)


def autocontrast(images: Images) -> Images:
    """Stretch each channel to 0 to 255; a uniform channel is unchanged (Pillow's `ImageOps.autocontrast`)."""
    values = images.double()
    low, high = (values.amin(dim=(2, 3), keepdim=True), values.amax(dim=(2, 3), keepdim=True))
    scale = 255 / (high - low).clamp(min=1)
    stretched = (values * scale - low * scale).clamp(0, 255).to(torch.uint8)
    return torch.where(high > low, stretched, images)


def equalize(images: Images) -> Images:
    """Make the histogram of each channel as uniform as possible (Pillow's `ImageOps.equalize`)."""
    n, channels, height, width = images.shape
    values = images.reshape(n * channels, height * width).long()
    counts = torch.zeros(n * channels, 256, dtype=torch.int64, device=images.device)
    counts.scatter_add_(1, values, torch.ones_like(values))
    last = counts.gather(1, values.amax(dim=1, keepdim=True))
    step = (height * width - last) // 255
    table = ((step // 2 + counts.cumsum(1) - counts) // step.clamp(min=1)).clamp(0, 255)
    equalized = torch.where(step > 0, table.gather(1, values), values)
    return equalized.to(torch.uint8).reshape(images.shape)


def _grey(images: Images) -> Float[Tensor, "n 1 h w"]:
    weights = torch.tensor(LUMA, dtype=torch.float64, device=images.device)[:, None, None]
    return ((images.double() * weights).sum(dim=1, keepdim=True) + 0.5).floor().float()


def _blend(start: Float[Tensor, "n 3 h w"], images: Images, factors: Factors) -> UInt8[Tensor, "n 3 h w"]:
    """Return start + factor (image - start), cut to 0 to 255; fractions are dropped, as in Pillow."""
    blended = start + factors[:, None, None, None] * (images.float() - start)
    return blended.clamp(0, 255).to(torch.uint8)
