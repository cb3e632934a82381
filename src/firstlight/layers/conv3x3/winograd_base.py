"""Base class of the two Winograd convolutions: decides when they are faster than PyTorch's."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from firstlight.layers.conv3x3.base import ConvAlgorithm, ConvProblem

OUTPUT_TILE = 4


class Winograd(ConvAlgorithm):
    """A convolution with a quarter of the multiplications, F(4x4, 3x3): see decision 10.

    Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR 2016 (arXiv 1509.09308), equation 13. The
    padded input is cut into tiles d of 6x6 that overlap by two, one for each 4x4 tile of the output; then

        Y = A' [ (G g G') * (B' d B) ] A

    where * is the elementwise product, summed over the input channels. Over all tiles and channels this sum is one
    matrix product for each of the 36 elements of a tile, and these products take most of the time. The algorithm is
    therefore fast on CPUs that are limited by arithmetic, not by memory. For maps that need fewer products with output
    tiles of 3x3, the native implementation uses F(3x3, 3x3), with 25 products of input tiles of 5x5.
    """

    name = "winograd"
    # Smallest number of input and output channels for each supported dtype; below, PyTorch's convolution is faster.
    min_channels: ClassVar[dict[torch.dtype, int]]
    min_tiles: int  # smallest number of tiles of all images; below, PyTorch's convolution is faster
    is_faster_forward: bool  # whether a forward pass alone is faster than PyTorch's

    @classmethod
    def is_faster(cls, problem: ConvProblem) -> bool:
        """Whether this algorithm is faster than PyTorch's."""
        if problem.dtype not in cls.min_channels or problem.min_channels < cls.min_channels[problem.dtype]:
            return False
        return problem.num_pixels >= cls.min_tiles * OUTPUT_TILE**2 and (problem.is_training or cls.is_faster_forward)


def select_images(maps: Tensor, indices: Tensor | None) -> Tensor:
    """Return the images of maps [n h w c] at `indices`, int64 [k], or all images if it is None."""
    return maps if indices is None else maps.index_select(0, indices)
