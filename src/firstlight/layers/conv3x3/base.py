"""What every way of computing the 3x3 convolution can do."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

FILTER = 3


class Case(NamedTuple):
    """What a way is chosen for.

    Args:
        dtype: of the maps, and of the factors of the products.
        channels_in: of the input.
        channels_out: of the output.
        num_images: in the maps.
        num_pixels: of all images.
        is_training: whether gradients will be asked for, so that a little more rounding is lost in their noise.
    """

    dtype: torch.dtype
    channels_in: int
    channels_out: int
    num_images: int
    num_pixels: int
    is_training: bool

    @property
    def min_channels(self) -> int:
        """The fewer of input and output."""
        return min(self.channels_in, self.channels_out)


class Way(ABC):
    """The convolution and its gradients, for maps [n h w c] and filters [c_out c_in 3 3]: padding 1, stride 1."""

    name: ClassVar[str]

    @classmethod
    @abstractmethod
    def pays(cls, case: Case) -> bool:
        """Whether it is faster than PyTorch's convolution, if it can be had."""

    @abstractmethod
    def knows(self, dtype: torch.dtype, channels_in: int, channels_out: int) -> bool:
        """Whether it convolves maps of this type, with so many channels."""

    @abstractmethod
    def convolve(self, maps: Tensor, filters: Tensor) -> Tensor:
        """Return the convolution, [n h w c_out]."""

    @abstractmethod
    def gradients(
        self,
        maps: Tensor,
        filters: Tensor,
        gradient: Tensor,
        of_maps: bool,
        of_filters: bool,
        *,
        places: Tensor | None = None,
    ) -> tuple[Tensor | None, Tensor | None]:
        """Return the gradients of maps and filters, each if it is asked for, from that of the output.

        Args:
            maps: [n h w c_in].
            filters: [c_out c_in 3 3].
            gradient: of the output, [k h w c_out].
            of_maps: whether the maps' is asked for, [k h w c_in].
            of_filters: whether the filters' is.
            places: where the images of the gradient are among the maps, int64 [k]; by default they are all.
        """
