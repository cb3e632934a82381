"""What every way of computing Winograd's convolution can do."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

FILTER, OUTPUT_TILE = 3, 4


class Winograd(ABC):
    """The convolution and its gradients, for maps [n h w c] and filters [c_out c_in 3 3]: padding 1, stride 1."""

    # With fewer, of input or output, the direct convolution is faster; with maps of another type, always.
    min_channels: ClassVar[dict[torch.dtype, int]]
    min_tiles: int  # of all images; likewise
    forward_pays: bool  # whether a forward pass alone is faster than the direct convolution

    @classmethod
    def pays(cls, dtype: torch.dtype, num_channels: int, num_pixels: int, is_training: bool) -> bool:
        """Whether this way is faster than the direct convolution, for the fewer channels of input and output."""
        if dtype not in cls.min_channels:
            return False
        enough = num_channels >= cls.min_channels[dtype] and num_pixels >= cls.min_tiles * OUTPUT_TILE**2
        return enough and (is_training or cls.forward_pays)

    @abstractmethod
    def convolve(self, maps: Tensor, filters: Tensor) -> Tensor:
        """Return the convolution, [n h w c_out]."""

    @abstractmethod
    def gradients(
        self, maps: Tensor, filters: Tensor, gradient: Tensor, of_maps: bool, of_filters: bool
    ) -> tuple[Tensor | None, Tensor | None]:
        """Return the gradients of maps and filters, each if it is asked for, from that of the output, [n h w c_out]."""
