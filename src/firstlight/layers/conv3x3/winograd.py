"""Winograd's convolution in C++: see winograd.cpp for the algorithm and its memory layouts."""

from __future__ import annotations

import ctypes
from functools import cache
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor

from firstlight.layers.conv3x3.base import FILTER, ConvProblem
from firstlight.layers.conv3x3.winograd_base import Winograd, select_images
from firstlight.native import cpu
from firstlight.native.dispatch import TYPES, call_for
from firstlight.native.libraries import load_library

SOURCE = Path(__file__).with_name("winograd.cpp")
PANEL = 16  # number of channels in a panel, as in winograd.cpp
# Dtype of the transforms and sums for each dtype of the maps.
SUMS = {torch.float32: torch.float32, torch.float64: torch.float64, torch.bfloat16: torch.float32}
TILES = (4, 3)  # sides of the output tiles, in pixels
# Tiles of a block per thread: enough to read the filters rarely, few enough that a block needs little memory.
TILES_PER_THREAD = 128


class NativeWinograd(Winograd):
    """`Winograd` in C++: transforms and matrix products process one block of images at a time."""

    min_channels: ClassVar = {torch.float32: 16, torch.bfloat16: 32}
    min_tiles = 128
    is_faster_forward = True

    def __init__(self, library: ctypes.CDLL) -> None:
        self._library = library

    @classmethod
    def is_faster(cls, problem: ConvProblem) -> bool:
        """Whether this algorithm is faster than PyTorch's; in bfloat16 it is used for training only, see `Conv3x3`."""
        is_allowed = problem.dtype != torch.bfloat16 or (problem.is_training and not cpu.has_amx())
        return is_allowed and super().is_faster(problem)

    def supports(self, dtype: torch.dtype, channels_in: int, channels_out: int) -> bool:
        """Whether such maps are supported: bfloat16 needs a CPU that multiplies it, and even numbers of channels."""
        if dtype == torch.bfloat16:
            return hasattr(self._library, "convolve_bfloat16") and channels_in % 2 == channels_out % 2 == 0
        return dtype in TYPES

    def convolve(self, maps: Tensor, filters: Tensor) -> Tensor:  # noqa: D102  # see ConvAlgorithm
        maps, output = maps.contiguous(), maps.new_empty(*maps.shape[:3], len(filters))
        tile = cheapest_tile(*maps.shape[1:3])
        workspace, block = self._workspace(maps, len(filters), tile)
        bank = self._transformed(filters, maps.dtype, tile)
        self._call("convolve", maps, bank, output, workspace, *maps.shape, len(filters), block, tile)
        return output

    def gradients(  # noqa: D102
        self,
        maps: Tensor,
        filters: Tensor,
        gradient: Tensor,
        needs_maps: bool,
        needs_filters: bool,
        *,
        indices: Tensor | None = None,
    ) -> tuple[Tensor | None, Tensor | None]:
        maps, gradient = select_images(maps, indices).contiguous(), gradient.contiguous()
        channels_out, channels_in = filters.shape[:2]
        tile = cheapest_tile(*maps.shape[1:3])
        transposed = self._transformed(filters.transpose(0, 1), maps.dtype, tile) if needs_maps else None
        map_gradient = torch.empty_like(maps) if needs_maps else None
        num_products = self._num_products(channels_out, channels_in, tile)
        products = maps.new_zeros(num_products, dtype=SUMS[maps.dtype]) if needs_filters else None
        workspace, block = self._workspace(maps, channels_out, tile)
        sizes = *maps.shape, channels_out, block, tile
        self._call("gradients", maps, transposed, gradient, map_gradient, products, workspace, *sizes)
        if products is None:
            return map_gradient, None
        taps = products.new_empty(channels_out, FILTER, FILTER, channels_in)
        self._call("filters_adjoint", products, taps, channels_out, channels_in, tile)
        return map_gradient, taps.permute(0, 3, 1, 2).to(filters.dtype)

    def _transformed(self, filters: Tensor, dtype: torch.dtype, tile: int) -> Tensor:
        """Transform filters [c_out c_in 3 3] into a bank for maps of a dtype; see winograd.cpp for its layout."""
        channels_out, channels_in = filters.shape[:2]
        bank = filters.new_empty(self._num_products(channels_in, channels_out, tile), dtype=dtype)
        filters = filters.to(SUMS[dtype])
        taps = _outputs_innermost(filters)
        steps = taps.stride(2), taps.stride(1)
        self._call("transform_filters", taps, bank, channels_in, channels_out, *steps, tile, dtype=dtype)
        return bank

    def _workspace(self, maps: Tensor, channels_out: int, tile: int) -> tuple[Tensor, int]:
        """Return a buffer for the input and output products of a block, and the number of images in the block."""
        num_images, height, width, channels_in = maps.shape
        num_tiles = _num_tiles(height, width, tile)
        block = min(num_images, max(1, TILES_PER_THREAD * torch.get_num_threads() // num_tiles))
        sizes = (self._num_products(block * num_tiles, channels, tile) for channels in (channels_in, channels_out))
        return maps.new_empty(sum(sizes), dtype=SUMS[maps.dtype]), block

    @staticmethod
    def _num_products(num_tiles: int, channels: int, tile: int) -> int:
        """Return the size of `Products` in winograd.cpp."""
        return _num_elements(tile) * (-(-channels // PANEL) * num_tiles + 1) * PANEL

    def _call(self, name: str, *arguments: Tensor | int | None, dtype: torch.dtype | None = None) -> None:
        """Call a function of the library for maps of a dtype, by default the dtype of the first tensor."""
        dtype = dtype or next(argument.dtype for argument in arguments if isinstance(argument, Tensor))
        call_for(dtype, self._library, name, *arguments)


def _outputs_innermost(filters: Tensor) -> Tensor:
    """Return filters [c_out c_in 3 3] as [3 3 c_in c_out], copied so that output channels are adjacent in memory.

    Transposing a matrix is four times as fast as permuting four axes, so the filters are transposed as a matrix where
    the memory format allows it.
    """
    taps = filters.permute(2, 3, 1, 0)
    if taps.stride(3) == 1 and taps.stride(0) == FILTER * taps.stride(1):
        return taps
    channels_out, channels_in = filters.shape[:2]
    if filters.is_contiguous():
        by_input = filters.flatten(1).t().contiguous()  # [c_in 3 3, c_out]
        return by_input.view(channels_in, FILTER, FILTER, channels_out).permute(1, 2, 0, 3)
    by_output = filters.permute(0, 2, 3, 1).flatten(1)  # a view in channels_last memory format
    return by_output.t().contiguous().view(taps.shape)


def cheapest_tile(height: int, width: int) -> int:
    """Return the side in pixels of the output tiles that need the fewest products for maps of a size.

    >>> [cheapest_tile(side, side) for side in (3, 4, 6, 8, 15, 16)]
    [3, 4, 3, 4, 4, 4]
    """
    return min(TILES, key=lambda tile: _num_tiles(height, width, tile) * _num_elements(tile))


def _num_tiles(height: int, width: int, tile: int) -> int:
    return -(-height // tile) * -(-width // tile)


def _num_elements(tile: int) -> int:
    return (tile + FILTER - 1) ** 2


@cache
def native_winograd() -> NativeWinograd | None:
    """Return the compiled convolution, or None if it cannot be compiled."""
    library = load_library(SOURCE, "winograd")
    return None if library is None else NativeWinograd(library)
