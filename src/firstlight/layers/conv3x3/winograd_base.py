"""What both ways of Winograd's method have in common: when they pay."""

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

    where * multiplies element by element, summed over the input channels. For all tiles and channels at once that is
    36 matrix products, one for each element of the 6x6: that is where the time goes, and why this is fast on
    processors whose matrix rate, not whose memory, is the bound. Where it is compiled and tiles of 3x3 fit the output
    better, it is F(3x3, 3x3): 25 products, of tiles of 5x5.
    """

    name = "winograd"
    # With fewer, of input or output, PyTorch's convolution is faster; with maps of another type, always.
    min_channels: ClassVar[dict[torch.dtype, int]]
    min_tiles: int  # of all images; likewise
    forward_pays: bool  # whether a forward pass alone is faster than PyTorch's

    @classmethod
    def is_faster(cls, case: ConvProblem) -> bool:
        """Return whether this algorithm is faster than PyTorch's."""
        if case.dtype not in cls.min_channels or case.min_channels < cls.min_channels[case.dtype]:
            return False
        return case.num_pixels >= cls.min_tiles * OUTPUT_TILE**2 and (case.is_training or cls.forward_pays)


def chosen(maps: Tensor, places: Tensor | None) -> Tensor:
    """Return the images of maps [n h w c] that are at some places; all without."""
    return maps if places is None else maps.index_select(0, places)
