"""The convolution of maps in bfloat16 by the matrix tiles of a CPU (Intel's AMX), in C++: see amx.cpp."""

from __future__ import annotations

import ctypes
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from firstlight.compiler import call, compiled
from firstlight.networks.conv3x3.way import Case, Way

SOURCE = Path(__file__).with_name("amx.cpp")
MIN_CHANNELS = 16  # half a block: with fewer, too much of a tile is zero
MIN_IMAGES = 16  # half a group; likewise


class AmxConvolution(Way):
    """The direct convolution, with the same rounding as PyTorch's: sums in float32, results in bfloat16."""

    name = "amx"

    def __init__(self, library: ctypes.CDLL) -> None:
        self._library = library

    @classmethod
    def pays(cls, case: Case) -> bool:
        """Whether this way is faster than PyTorch's, which takes the same tiles, if with less skill."""
        enough = case.min_channels >= MIN_CHANNELS and case.num_images >= MIN_IMAGES
        return case.dtype == torch.bfloat16 and enough and has_amx()

    def knows(self, dtype: torch.dtype, channels_in: int, channels_out: int) -> bool:  # noqa: ARG002, D102  # as Way says
        return dtype == torch.bfloat16

    def convolve(self, maps: Tensor, filters: Tensor) -> Tensor:  # noqa: D102
        output = maps.new_empty(*maps.shape[:3], len(filters))
        self._call("convolve", maps, _taps(filters), output, None, *maps.shape, len(filters))
        return output

    def convolve_and_pool(self, maps: Tensor, filters: Tensor) -> tuple[Tensor, Tensor]:
        """Return the convolution pooled over windows of 2x2, and which pixel of its window each is, uint8.

        Both are [n h//2 w//2 c_out]; the same as of `max_pool`, but what is pooled is never written.
        """
        num_images, height, width, _ = maps.shape
        output = maps.new_empty(num_images, height // 2, width // 2, len(filters))
        which = torch.empty(output.shape, dtype=torch.uint8)
        self._call("convolve", maps, _taps(filters), output, which, *maps.shape, len(filters))
        return output, which

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
        """Return the gradients of maps and filters, each if it is asked for, from that of the output.

        Args:
            maps: [n h w c_in].
            filters: [c_out c_in 3 3].
            gradient: of the output, [k h w c_out], or, with `which`, of the pooled output.
            of_maps: whether the maps' is asked for, [k h w c_in].
            of_filters: whether the filters' is.
            places: where the images of the gradient are among the maps, int64 [k]; by default they are all.
            which: what `convolve_and_pool` gave, of all images.
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


def has_amx() -> bool:
    """Whether this CPU multiplies bfloat16 by tiles."""
    return bool(getattr(torch.cpu, "_is_amx_tile_supported", lambda: False)())


@cache
def amx_convolution() -> AmxConvolution | None:
    """Return the compiled convolution, or None where it cannot be compiled, or the system grants no tiles."""
    library = compiled(SOURCE)
    is_granted = library is not None and hasattr(library, "request_tiles") and library.request_tiles() == 0
    return AmxConvolution(library) if library is not None and is_granted else None
