"""Out-of-distribution images, for measuring whether a model detects them."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from firstlight.arrays import Images
from firstlight.data.drawn import EMBEDDED_NAMES, EMBEDDED_SEED, draw

NUM_IMAGES = 500  # images of each kind
_SEED = 0


def ood_images(trained_on: str, size_px: tuple[int, int]) -> dict[str, Images]:
    """Return images of several kinds, the same on every machine up to rounding.

    Args:
        trained_on: Name of the training set; the drawn shapes are left out if it is an embedded data set.
        size_px: Height and width of the images.

    Returns:
        For each kind, uint8 [n 3 h w]: independent noise, smooth blobs, striped gratings, the embedded drawn shapes.

    >>> sorted(ood_images("drawn", (8, 8)))
    ['blobs', 'gratings', 'noise']
    """
    generator = torch.Generator().manual_seed(_SEED)
    kinds = {
        "noise": _uint8(torch.rand(NUM_IMAGES, 3, *size_px, generator=generator)),
        "blobs": _blobs(generator, size_px),
        "gratings": _gratings(generator, size_px),
    }
    if trained_on not in EMBEDDED_NAMES:
        shapes = draw(NUM_IMAGES, EMBEDDED_SEED, "test").images
        kinds["drawn shapes"] = _uint8(_resized(shapes / 255, size_px))
    return kinds


def _blobs(generator: torch.Generator, size_px: tuple[int, int]) -> Images:
    """Return random colours on a 4x4 lattice, interpolated smoothly."""
    return _uint8(_resized(torch.rand(NUM_IMAGES, 3, 4, 4, generator=generator), size_px))


def _gratings(generator: torch.Generator, size_px: tuple[int, int]) -> Images:
    """Return stripes of two colours in a random direction, 2 to 8 periods in an image."""
    height, width = size_px
    angle, periods, phase = (torch.rand(NUM_IMAGES, 1, 1, generator=generator) for _ in range(3))
    down = torch.linspace(0, 1, height)[None, :, None]
    right = torch.linspace(0, 1, width)[None, None, :]
    along = right * (angle * math.pi).cos() + down * (angle * math.pi).sin()
    wave = 0.5 + 0.5 * ((along * (2 + 6 * periods) + phase) * 2 * math.pi).sin()
    first, second = torch.rand(2, NUM_IMAGES, 3, 1, 1, generator=generator)
    return _uint8(first + (second - first) * wave[:, None])


def _resized(images: Tensor, size_px: tuple[int, int]) -> Tensor:
    if images.shape[2:] == size_px:
        return images
    return F.interpolate(images, size=size_px, mode="bicubic", align_corners=False, antialias=True)


def _uint8(images: Tensor) -> Images:
    return (images * 255).round().clamp(0, 255).to(torch.uint8)
