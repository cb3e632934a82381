"""The 3x3 convolution as a layer, and as a function with its gradients, by the way that is fastest here."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from firstlight.layers.conv3x3.amx import AmxConvolution, amx_convolution
from firstlight.layers.conv3x3.base import FILTER, Case, Way
from firstlight.layers.conv3x3.winograd import NativeWinograd, native_winograd
from firstlight.layers.conv3x3.winograd_torch import PlainWinograd
from firstlight.native.dispatch import is_eager_on_cpu


def winograd_for(dtype: torch.dtype, channels_in: int, channels_out: int) -> Way:
    """Return Winograd's method, compiled where it can be and knows such maps, else in PyTorch."""
    native = native_winograd()
    return native if native is not None and native.knows(dtype, channels_in, channels_out) else PlainWinograd()


def fastest_way(case: Case) -> Way | None:
    """Return the way that is faster than PyTorch's convolution, if one is. Nothing is compiled unless it may pay."""
    if AmxConvolution.pays(case) and (amx := amx_convolution()) is not None:
        return amx
    if not NativeWinograd.pays(case):  # nor does the other
        return None
    winograd = winograd_for(case.dtype, case.channels_in, case.channels_out)
    return winograd if winograd.pays(case) else None


class _Convolution(torch.autograd.Function):
    """The convolution and its gradients, one way."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, filters: Tensor, way: Way) -> Tensor:
        ctx.save_for_backward(images, filters)
        ctx.way = way
        return way.convolve(images.permute(0, 2, 3, 1), filters).permute(0, 3, 1, 2)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        images, filters = ctx.saved_tensors
        maps, of_output = images.permute(0, 2, 3, 1), gradient.permute(0, 2, 3, 1)
        of_maps, of_filters = ctx.way.gradients(maps, filters, of_output, *ctx.needs_input_grad[:2])
        return None if of_maps is None else of_maps.permute(0, 3, 1, 2), of_filters, None


def conv3x3(images: Tensor, filters: Tensor, way: Way) -> Tensor:
    """Return the 3x3 convolution of maps, padded by one zero, with stride 1.

    The same function as `torch.nn.functional.conv2d(images, filters, padding=1)` but for rounding. By Winograd's method
    the result and both gradients differ in float32 by about 2e-6 of their maximum, in bfloat16 by about 2e-2 (1e-2 of
    their standard deviation; PyTorch's convolution 2e-3, and so AMX's).

    Args:
        images: float [n c_in h w]; in channels_last memory format no copy is made.
        filters: float [c_out c_in 3 3]; float32 for images in bfloat16, too.
        way: how; it must know such maps.

    Returns:
        Float [n c_out h w] of the images' type, in channels_last memory format.

    >>> images, filters = torch.randn(2, 3, 7, 9), torch.randn(5, 3, 3, 3)
    >>> output = conv3x3(images, filters, winograd_for(torch.float32, 3, 5))
    >>> torch.allclose(output, torch.conv2d(images, filters, padding=1), atol=1e-4)
    True
    """
    return _Convolution.apply(images, filters, way)


class Conv3x3(nn.Conv2d):
    """A 3x3 convolution without bias, padded by one, that goes the way that is fastest here.

    On a CPU, with enough channels on both sides and enough pixels, that is one of this package's: in bfloat16 by AMX
    tiles where the CPU has them and there is a compiler; in float32 by Winograd's method, in evaluation only where the
    method is compiled; by the same method in bfloat16, in training only, whose gradients are noisier than its rounding,
    where the CPU multiplies bfloat16 by vectors (AVX512-BF16) and has no AMX. Anywhere else, and whenever it is
    traced, compiled or exported, it is PyTorch's.

    Args:
        channels_in: channels of the input.
        channels_out: channels of the output.
        fast: whether another way than PyTorch's may be taken at all.
    """

    stands_for = "Conv2d"  # in tables and drawings

    def __init__(self, channels_in: int, channels_out: int, *, fast: bool = True) -> None:
        super().__init__(channels_in, channels_out, kernel_size=FILTER, padding=1, bias=False)
        self.fast = fast

    def way(self, images: Tensor) -> Way | None:
        """Return how this input will be convolved, float [n c h w]; None if by PyTorch."""
        if not self.fast or not is_eager_on_cpu(images):
            return None
        if images.dtype == torch.float64 or self.weight.dtype != torch.float32:
            return None
        num_images, _, height, width = images.shape
        num_pixels = num_images * height * width
        channels = self.in_channels, self.out_channels
        return fastest_way(Case(arithmetic(images), *channels, num_images, num_pixels, self.training))

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  # the name that nn.Conv2d gives it
        """Return the convolution, float [n c_out h w], of maps, float [n c_in h w]."""
        way = self.way(input)
        if way is None:
            return super().forward(input)
        return conv3x3(input.to(arithmetic(input)), self.weight, way)


def arithmetic(images: Tensor) -> torch.dtype:
    """Return the type in which a convolution of these images is computed."""
    return torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else images.dtype
