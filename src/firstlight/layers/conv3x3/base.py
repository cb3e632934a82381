"""The interface of all algorithms for the 3x3 convolution."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

FILTER = 3  # side of the filters, in pixels


class ConvProblem(NamedTuple):
    """The problem for which an algorithm is chosen.

    Args:
        dtype: Type of the maps and of the factors of all products.
        channels_in: Number of input channels.
        channels_out: Number of output channels.
        num_images: Number of images.
        num_pixels: Number of pixels of all images.
        is_training: Whether gradients will be computed; gradient noise hides slightly larger rounding errors.
    """

    dtype: torch.dtype
    channels_in: int
    channels_out: int
    num_images: int
    num_pixels: int
    is_training: bool

    @property
    def min_channels(self) -> int:
        """The smaller of the two numbers of channels."""
        return min(self.channels_in, self.channels_out)


class ConvAlgorithm(ABC):
    """The convolution and its gradients, for maps [n h w c] and filters [c_out c_in 3 3]: padding 1, stride 1."""

    name: ClassVar[str]

    @classmethod
    @abstractmethod
    def is_faster(cls, problem: ConvProblem) -> bool:
        """Whether the algorithm, if it is available, is faster than PyTorch's convolution."""

    @abstractmethod
    def supports(self, dtype: torch.dtype, channels_in: int, channels_out: int) -> bool:
        """Whether the algorithm supports maps of this dtype and these numbers of channels."""

    @abstractmethod
    def convolve(self, maps: Tensor, filters: Tensor) -> Tensor:
        """Compute the convolution, [n h w c_out]."""

    @abstractmethod
    def gradients(
        self,
        maps: Tensor,
        filters: Tensor,
        gradient: Tensor,
        needs_maps: bool,
        needs_filters: bool,
        *,
        indices: Tensor | None = None,
    ) -> tuple[Tensor | None, Tensor | None]:
        """Compute the gradients of the maps and of the filters, each if requested, from the gradient of the output.

        Args:
            maps: Input, [n h w c_in].
            filters: Filters, [c_out c_in 3 3].
            gradient: Gradient of the output, [k h w c_out].
            needs_maps: Whether to compute the gradient of the maps, [k h w c_in].
            needs_filters: Whether to compute the gradient of the filters.
            indices: Indices of the gradient's images among the maps, int64 [k]; None means all images.

        Returns:
            The gradients of maps and filters; None for a gradient that was not requested.
        """
