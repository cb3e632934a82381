"""Affine maps of images: shear, translation and rotation about the centre, with one matrix for each image."""

from __future__ import annotations

import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn import functional as F

from firstlight.arrays import Images

Matrices = Float[Tensor, "n 2 3"]  # from (x, y, 1) in the result to (x, y) in the image, in pixels from the centre


def affine(images: Images, matrices: Matrices, fill: UInt8[Tensor, 3]) -> Images:
    """Map images by affine functions, with bilinear interpolation.

    Args:
        images: Raw pixels, uint8 [n 3 h w].
        matrices: Function from a pixel of the result to the point of the image where it is read, float [n 2 3].
        fill: Colour of the points beyond the image, uint8 [3].

    Returns:
        Uint8 [n 3 h w], rounded.

    >>> row = torch.tensor([[[[1, 2, 3]]]], dtype=torch.uint8).expand(1, 3, 1, 3)
    >>> affine(row, translation(torch.tensor([1.0]), along_x=True), torch.zeros(3, dtype=torch.uint8))[0, 0].tolist()
    [[0, 1, 2]]
    """
    height, width = images.shape[2:]
    scale = torch.tensor([[1, height / width, 2 / width], [width / height, 1, 2 / height]], device=images.device)
    grid = F.affine_grid(matrices * scale, list(images.shape), align_corners=False)
    background = fill.float()[:, None, None]
    moved = F.grid_sample(images.float() - background, grid, mode="bilinear", align_corners=False)
    return (moved + background).round().to(torch.uint8)


def shear(factors: Float[Tensor, " n"], *, along_x: bool) -> Matrices:
    """Return matrices that shear by these factors: a row moves left by the factor for every pixel below the centre."""
    matrices = _identity(factors)
    matrices[:, 0, 1] = factors if along_x else 0.0
    matrices[:, 1, 0] = 0.0 if along_x else factors
    return matrices


def translation(distances_px: Float[Tensor, " n"], *, along_x: bool) -> Matrices:
    """Return matrices that move an image to the right, or down, by these distances in pixels."""
    matrices = _identity(distances_px)
    matrices[:, 0 if along_x else 1, 2] = -distances_px
    return matrices


def rotation(degrees: Float[Tensor, " n"]) -> Matrices:
    """Return matrices that rotate by these angles, counter-clockwise."""
    radians, matrices = degrees.deg2rad(), _identity(degrees)
    matrices[:, 0, 0] = matrices[:, 1, 1] = radians.cos()
    matrices[:, 0, 1], matrices[:, 1, 0] = -radians.sin(), radians.sin()
    return matrices


def _identity(like: Float[Tensor, " n"]) -> Matrices:
    return torch.eye(2, 3, device=like.device).repeat(len(like), 1, 1)
