"""The convolution of maps in bfloat16 by the matrix tiles of a CPU (Intel's AMX), in C++: see amx.cpp."""

from __future__ import annotations

import ctypes
from functools import cache
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from firstlight.layers.conv3x3.base import ConvAlgorithm, ConvProblem
from firstlight.native import cpu
from firstlight.native.compiler import call, compiled

SOURCE = Path(__file__).with_name("amx.cpp")
MIN_CHANNELS = 16  # half a block: with fewer, too much of a tile is zero
MIN_IMAGES = 16  # half a group; likewise


class Epilogue(NamedTuple):
    """What is done with results before they are written, in this order.

    Args:
        pools: whether of every window of 2x2 only the maximum is kept.
        rectifies: whether what is below zero becomes zero.
    """

    pools: bool = False
    rectifies: bool = False


class Convolved(NamedTuple):
    """What a convolution gives where it is trained.

    Args:
        maps: [n h w c_out], or pooled over windows of 2x2, [n h//2 w//2 c_out].
        which: pixel of its window each of the pooled is, uint8 shaped as they are; None where nothing was pooled.
        sums: of the maps less the pivots, and of the squares, of each channel, float64 [2 c_out]; None without pivots.
    """

    maps: Tensor
    which: Tensor | None
    sums: Tensor | None


class AmxConvolution(ConvAlgorithm):
    """The direct convolution, with the same rounding as PyTorch's: sums in float32, results in bfloat16."""

    name = "amx"

    def __init__(self, library: ctypes.CDLL) -> None:
        self._library = library

    @classmethod
    def is_faster(cls, case: ConvProblem) -> bool:
        """Return whether this algorithm is faster than PyTorch's, which uses the same tiles less efficiently."""
        enough = case.min_channels >= MIN_CHANNELS and case.num_images >= MIN_IMAGES
        return case.dtype == torch.bfloat16 and enough and cpu.has_amx()

    def supports(self, dtype: torch.dtype, channels_in: int, channels_out: int) -> bool:  # noqa: ARG002, D102  # as Way says
        return dtype == torch.bfloat16

    def convolve(self, maps: Tensor, filters: Tensor) -> Tensor:  # noqa: D102
        return self._convolve(maps, filters, Epilogue())

    def convolve_to_train(
        self, maps: Tensor, filters: Tensor, finish: Epilogue = Epilogue(), pivots: Tensor | None = None
    ) -> Convolved:
        """Compute the convolution and its epilogue in one pass.

        Args:
            maps: [n h w c_in].
            filters: [c_out c_in 3 3].
            finish: of two equal pixels of a window the first is kept.
            pivots: numbers near those that will come, float32 [c_out], where their sums are asked for.
        """
        num_images, height, width, _ = maps.shape
        shape = num_images, height // 2, width // 2, len(filters)
        which = torch.empty(shape, dtype=torch.uint8) if finish.pools else None
        sums = None if pivots is None else torch.empty(torch.get_num_threads(), 2, len(filters), dtype=torch.float64)
        output = self._convolve(maps, filters, finish, which=which, pivots=pivots, sums=sums)
        return Convolved(output, which, None if sums is None else sums.sum(0))

    def _convolve(
        self,
        maps: Tensor,
        filters: Tensor,
        finish: Epilogue,
        *,
        which: Tensor | None = None,
        pivots: Tensor | None = None,
        sums: Tensor | None = None,
    ) -> Tensor:
        num_images, height, width, _ = maps.shape
        step = 2 if finish.pools else 1
        output = maps.new_empty(num_images, height // step, width // step, len(filters))
        results, how = (output, which, pivots, sums), (int(finish.pools), int(finish.rectifies))
        self._call("convolve", maps, _taps(filters), *results, *how, *maps.shape, len(filters))
        return output

    def gradients(
        self,
        maps: Tensor,
        filters: Tensor,
        gradient: Tensor,
        of_maps: bool,
        of_filters: bool,
        *,
        places: Tensor | None = None,
        which: Tensor | None = None,
    ) -> tuple[Tensor | None, Tensor | None]:
        """Return the gradients of maps and filters as `Way` does, or, with `which`, from that of the pooled output.

        Args:
            maps: see `Way`, as for the rest.
            filters: likewise.
            gradient: of the output, pooled or not.
            of_maps: see `Way`.
            of_filters: likewise.
            places: likewise; what is read there is read in place.
            which: what `convolve_to_train` gave, of all images.
        """
        sizes, taps = (len(gradient), *maps.shape[1:], len(filters)), _taps(filters)
        map_gradient = maps.new_empty(len(gradient), *maps.shape[1:]) if of_maps else None
        tap_gradient = torch.empty_like(taps) if of_filters else None
        if map_gradient is not None:
            self._call("map_gradient", gradient, places, which, taps, map_gradient, *sizes)
        if tap_gradient is not None:
            self._call("filter_gradient", maps, gradient, places, which, tap_gradient, *sizes)
        return map_gradient, None if tap_gradient is None else tap_gradient.permute(0, 3, 1, 2).to(filters.dtype)

    def _call(self, name: str, *arguments: Tensor | int | None) -> None:
        dense = (each.contiguous() if isinstance(each, Tensor) else each for each in arguments)
        call(self._library, f"{name}_bfloat16", *dense, threads=torch.get_num_threads())


def _taps(filters: Tensor) -> Tensor:
    """Return filters [c_out c_in 3 3] as [c_out 3 3 c_in], float32: a view of what lies in channels_last format."""
    return filters.float().permute(0, 2, 3, 1).contiguous()


@cache
def amx_convolution() -> AmxConvolution | None:
    """Return the compiled convolution, or None where it cannot be compiled, or the system grants no tiles."""
    library = compiled(SOURCE)
    is_granted = library is not None and hasattr(library, "request_tiles") and library.request_tiles() == 0
    return AmxConvolution(library) if library is not None and is_granted else None
