"""The convolution of maps in bfloat16 with the matrix tiles of a CPU (Intel's AMX), in C++: see amx.cpp."""

from __future__ import annotations

import ctypes
from functools import cache
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from firstlight.layers.conv3x3.base import ConvAlgorithm, ConvProblem
from firstlight.native import cpu
from firstlight.native.libraries import call, load_library

SOURCE = Path(__file__).with_name("amx.cpp")
MIN_CHANNELS = 16  # half a block; fewer channels would leave most of a tile zero
MIN_IMAGES = 16  # half a group; fewer images would leave most of a tile zero


class Epilogue(NamedTuple):
    """Operations on the results before they are stored, in this order.

    Args:
        pools: Whether to apply max pooling over 2x2 windows.
        applies_relu: Whether to apply ReLU.
    """

    pools: bool = False
    applies_relu: bool = False


class Convolved(NamedTuple):
    """The results of a convolution in training.

    Args:
        maps: Output, [n h w c_out], or pooled over 2x2 windows, [n h//2 w//2 c_out].
        argmax: Position of each maximum in its window, uint8 of the shape of `maps`; None without pooling.
        sums: Sums of x - pivot and of its square for each channel, float64 [2 c_out]; None without pivots.
    """

    maps: Tensor
    argmax: Tensor | None
    sums: Tensor | None


class AmxConvolution(ConvAlgorithm):
    """The direct convolution, with the same rounding as PyTorch's: sums in float32, results in bfloat16."""

    name = "amx"

    def __init__(self, library: ctypes.CDLL) -> None:
        self._library = library

    @classmethod
    def is_faster(cls, problem: ConvProblem) -> bool:
        """Whether this algorithm is faster than PyTorch's, which uses the same tiles less efficiently."""
        enough = problem.min_channels >= MIN_CHANNELS and problem.num_images >= MIN_IMAGES
        return problem.dtype == torch.bfloat16 and enough and cpu.has_amx()

    def supports(self, dtype: torch.dtype, channels_in: int, channels_out: int) -> bool:  # noqa: ARG002, D102  # see ConvAlgorithm
        return dtype == torch.bfloat16

    def convolve(self, maps: Tensor, filters: Tensor) -> Tensor:  # noqa: D102
        return self._convolve(maps, filters, Epilogue())

    def convolve_to_train(
        self, maps: Tensor, filters: Tensor, epilogue: Epilogue = Epilogue(), pivots: Tensor | None = None
    ) -> Convolved:
        """Compute the convolution and its epilogue in one pass.

        Args:
            maps: Input, [n h w c_in].
            filters: Filters, [c_out c_in 3 3].
            epilogue: Operations on the results; of equal maxima in a window, the first is taken.
            pivots: Numbers near the means of the output, float32 [c_out], for accurate sums; None to compute no sums.
        """
        num_images, height, width, _ = maps.shape
        shape = num_images, height // 2, width // 2, len(filters)
        argmax = torch.empty(shape, dtype=torch.uint8) if epilogue.pools else None
        sums = None if pivots is None else torch.empty(torch.get_num_threads(), 2, len(filters), dtype=torch.float64)
        output = self._convolve(maps, filters, epilogue, argmax=argmax, pivots=pivots, sums=sums)
        return Convolved(output, argmax, None if sums is None else sums.sum(0))

    def _convolve(
        self,
        maps: Tensor,
        filters: Tensor,
        epilogue: Epilogue,
        *,
        argmax: Tensor | None = None,
        pivots: Tensor | None = None,
        sums: Tensor | None = None,
    ) -> Tensor:
        num_images, height, width, _ = maps.shape
        step = 2 if epilogue.pools else 1
        output = maps.new_empty(num_images, height // step, width // step, len(filters))
        results, flags = (output, argmax, pivots, sums), (int(epilogue.pools), int(epilogue.applies_relu))
        self._call("convolve", maps, _taps(filters), *results, *flags, *maps.shape, len(filters))
        return output

    def gradients(
        self,
        maps: Tensor,
        filters: Tensor,
        gradient: Tensor,
        needs_maps: bool,
        needs_filters: bool,
        *,
        indices: Tensor | None = None,
        argmax: Tensor | None = None,
    ) -> tuple[Tensor | None, Tensor | None]:
        """Compute the gradients of maps and filters; if `argmax` is given, from the gradient of the pooled output.

        Args:
            maps: See `ConvAlgorithm.gradients`.
            filters: See `ConvAlgorithm.gradients`.
            gradient: Gradient of the output, pooled or not.
            needs_maps: See `ConvAlgorithm.gradients`.
            needs_filters: See `ConvAlgorithm.gradients`.
            indices: See `ConvAlgorithm.gradients`; the images are not copied.
            argmax: Positions of the maxima for all images, as in `Convolved`; None without pooling.
        """
        sizes, taps = (len(gradient), *maps.shape[1:], len(filters)), _taps(filters)
        map_gradient = maps.new_empty(len(gradient), *maps.shape[1:]) if needs_maps else None
        tap_gradient = torch.empty_like(taps) if needs_filters else None
        if map_gradient is not None:
            self._call("map_gradient", gradient, indices, argmax, taps, map_gradient, *sizes)
        if tap_gradient is not None:
            self._call("filter_gradient", maps, gradient, indices, argmax, tap_gradient, *sizes)
        return map_gradient, None if tap_gradient is None else tap_gradient.permute(0, 3, 1, 2).to(filters.dtype)

    def _call(self, name: str, *arguments: Tensor | int | None) -> None:
        dense = (each.contiguous() if isinstance(each, Tensor) else each for each in arguments)
        call(self._library, f"{name}_bfloat16", *dense, threads=torch.get_num_threads())


def _taps(filters: Tensor) -> Tensor:
    """Return filters [c_out c_in 3 3] as [c_out 3 3 c_in], float32: a view in channels_last memory format."""
    return filters.float().permute(0, 2, 3, 1).contiguous()


@cache
def amx_convolution() -> AmxConvolution | None:
    """Return the compiled convolution, or None if it cannot be compiled or Linux does not permit the tiles."""
    library = load_library(SOURCE, "amx")
    is_granted = library is not None and hasattr(library, "request_tiles") and library.request_tiles() == 0
    return AmxConvolution(library) if library is not None and is_granted else None
