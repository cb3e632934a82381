"""Winograd's convolution in C++, compiled on the machine that runs it: see winograd.cpp."""

from __future__ import annotations

import ctypes
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from firstlight.compiler import compiled
from firstlight.networks.winograd.way import OUTPUT_TILE, Winograd

SOURCE = Path(__file__).with_name("winograd.cpp")
ELEMENTS, PANEL = 36, 16  # as in winograd.cpp
TYPES = {torch.float32: "float", torch.float64: "double"}
# Tiles in work at once for each thread: enough to read the filters seldom, few enough for little memory.
TILES_PER_THREAD = 128


class NativeWinograd(Winograd):
    """`Winograd` in C++: a block of images goes through transforms and matrix products at once."""

    min_channels = 16
    min_tiles = 128
    forward_pays = True

    def __init__(self, library: ctypes.CDLL) -> None:
        self._library = library

    def convolve(self, maps: Tensor, filters: Tensor) -> Tensor:  # noqa: D102  # as Winograd says
        maps, output = maps.contiguous(), maps.new_empty(*maps.shape[:3], len(filters))
        work, block = self._work(maps, len(filters))
        self._call("convolve", maps, self._transformed(filters), output, work, *maps.shape, len(filters), block)
        return output

    def gradients(  # noqa: D102
        self, maps: Tensor, filters: Tensor, gradient: Tensor, of_maps: bool, of_filters: bool
    ) -> tuple[Tensor | None, Tensor | None]:
        maps, gradient = maps.contiguous(), gradient.contiguous()
        channels_out, channels_in = filters.shape[:2]
        transposed = self._transformed(filters.transpose(0, 1)) if of_maps else None
        map_gradient = torch.empty_like(maps) if of_maps else None
        products = maps.new_zeros(self._num_products(channels_in, channels_out)) if of_filters else None
        work, block = self._work(maps, channels_out)
        sizes = *maps.shape, channels_out, block
        self._call("gradients", maps, transposed, gradient, map_gradient, products, work, *sizes)
        if products is None:
            return map_gradient, None
        taps = filters.new_empty(channels_in, 3, 3, channels_out)
        self._call("filters_adjoint", products, taps, channels_in, channels_out)
        return map_gradient, taps.permute(3, 0, 1, 2)

    def _transformed(self, filters: Tensor) -> Tensor:
        """Return the products of filters [c_out c_in 3 3], whose input channels are the tiles."""
        channels_out, channels_in = filters.shape[:2]
        products = filters.new_empty(self._num_products(channels_in, channels_out))
        self._call("transform_filters", filters.permute(1, 2, 3, 0).contiguous(), products, channels_in, channels_out)
        return products

    def _work(self, maps: Tensor, channels_out: int) -> tuple[Tensor, int]:
        """Return room for the products of a block, of input and output, and the number of images in it."""
        num_images, height, width, channels_in = maps.shape
        num_tiles = -(-height // OUTPUT_TILE) * -(-width // OUTPUT_TILE)
        block = min(num_images, max(1, TILES_PER_THREAD * torch.get_num_threads() // num_tiles))
        sizes = (self._num_products(block * num_tiles, channels) for channels in (channels_in, channels_out))
        return maps.new_empty(sum(sizes)), block

    @staticmethod
    def _num_products(tiles: int, channels: int) -> int:
        """Return the size of `Products` in winograd.cpp."""
        return ELEMENTS * (-(-channels // PANEL) * tiles + 1) * PANEL

    def _call(self, name: str, *arguments: Tensor | int | None) -> None:
        """Call a function of the library: tensors by their address, numbers as they are, and the number of threads."""
        dtype = next(argument.dtype for argument in arguments if isinstance(argument, Tensor))
        plain = (
            ctypes.c_long(a) if isinstance(a, int) else ctypes.c_void_p(None if a is None else a.data_ptr())
            for a in arguments
        )
        getattr(self._library, f"{name}_{TYPES[dtype]}")(*plain, ctypes.c_int(torch.get_num_threads()))


@cache
def native_winograd() -> NativeWinograd | None:
    """Return the compiled convolution, or None where it cannot be compiled."""
    library = compiled(SOURCE)
    return None if library is None else NativeWinograd(library)
