"""A 3x3 convolution, as a layer and as a function with gradients, that picks the fastest algorithm on this CPU."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import Proxy

from firstlight.layers.conv3x3.amx import AmxConvolution, amx_convolution
from firstlight.layers.conv3x3.base import FILTER, ConvAlgorithm, ConvProblem
from firstlight.layers.conv3x3.winograd import NativeWinograd, native_winograd
from firstlight.layers.conv3x3.winograd_torch import TorchWinograd
from firstlight.native.dispatch import fx_leaf, is_eager_on_cpu, is_enabled
from firstlight.native.double_backward import differentiable_gradients


def winograd_algorithm(dtype: torch.dtype, channels_in: int, channels_out: int) -> ConvAlgorithm:
    """Return the native Winograd algorithm if it supports such maps, else the implementation in PyTorch."""
    native = native_winograd()
    return native if native is not None and native.supports(dtype, channels_in, channels_out) else TorchWinograd()


def choose_algorithm(problem: ConvProblem) -> ConvAlgorithm | None:
    """Return an algorithm that is faster than PyTorch's convolution, or None; compiles only if one may be faster."""
    if is_enabled("amx") and AmxConvolution.is_faster(problem) and (amx := amx_convolution()) is not None:
        return amx
    if not is_enabled("winograd") or not NativeWinograd.is_faster(problem):  # TorchWinograd is slower still
        return None
    winograd = winograd_algorithm(problem.dtype, problem.channels_in, problem.channels_out)
    return winograd if winograd.is_faster(problem) else None


class _Convolution(torch.autograd.Function):
    """The convolution and its gradients by one algorithm."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, filters: Tensor, algorithm: ConvAlgorithm) -> Tensor:
        ctx.save_for_backward(images, filters)
        ctx.algorithm = algorithm
        return algorithm.convolve(images.permute(0, 2, 3, 1), filters).permute(0, 3, 1, 2)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        images, filters = ctx.saved_tensors
        if torch.is_grad_enabled():
            return *differentiable_gradients(_conv2d, [images, filters], ctx.needs_input_grad[:2], gradient), None
        maps, grad_output = images.permute(0, 2, 3, 1), gradient.permute(0, 2, 3, 1)
        grad_maps, grad_filters = ctx.algorithm.gradients(maps, filters, grad_output, *ctx.needs_input_grad[:2])
        return None if grad_maps is None else grad_maps.permute(0, 3, 1, 2), grad_filters, None


def _conv2d(images: Tensor, filters: Tensor) -> Tensor:
    """Return PyTorch's convolution, in the images' type."""
    return torch.conv2d(images, filters.to(images.dtype), padding=1)


def conv3x3(images: Tensor, filters: Tensor, algorithm: ConvAlgorithm) -> Tensor:
    """Return the 3x3 convolution of maps, padded by one zero, with stride 1.

    Equal to `torch.nn.functional.conv2d(images, filters, padding=1)` except for rounding. The errors of Winograd's
    results and gradients are about 2e-6 of their maximum in float32 and 2e-2 in bfloat16. Relative to the standard
    deviation, the errors in bfloat16 are 1e-2 with Winograd, and 2e-3 with AMX and with PyTorch.

    Args:
        images: Float [n c_in h w]; copied unless they are in channels_last memory format.
        filters: Float [c_out c_in 3 3]; float32 even if the images are bfloat16.
        algorithm: Algorithm that supports these dtypes and channels.

    Returns:
        Float [n c_out h w] of the images' type, in channels_last memory format.

    >>> images, filters = torch.randn(2, 3, 7, 9), torch.randn(5, 3, 3, 3)
    >>> output = conv3x3(images, filters, winograd_algorithm(torch.float32, 3, 5))
    >>> torch.allclose(output, torch.conv2d(images, filters, padding=1), atol=1e-4)
    True
    """
    return _Convolution.apply(images, filters, algorithm)


class Conv3x3(nn.Conv2d):
    """A 3x3 convolution without bias, padded by one, that picks the fastest algorithm on this CPU.

    On a CPU, for enough channels and pixels, the algorithm is one of this package's:

    - bfloat16 on a CPU with AMX: AMX tiles, if they can be compiled;
    - bfloat16 on a CPU with AVX512-BF16 and no AMX: compiled Winograd, in training only, where gradient noise hides
      its larger rounding errors;
    - float32: Winograd, compiled or, in training only, in PyTorch.

    In all other cases, and when the layer is traced, compiled or exported, it is PyTorch's convolution.

    Args:
        channels_in: Number of input channels.
        channels_out: Number of output channels.
        fast: Whether algorithms other than PyTorch's may be used.
    """

    stands_for = "Conv2d"  # in tables and drawings

    def __init__(self, channels_in: int, channels_out: int, *, fast: bool = True) -> None:
        super().__init__(channels_in, channels_out, kernel_size=FILTER, padding=1, bias=False)
        self.fast = fast

    def algorithm(self, images: Tensor) -> ConvAlgorithm | None:
        """Return the algorithm for this input, float [n c h w]; None for PyTorch's own."""
        if not self.fast or not is_eager_on_cpu(images):
            return None
        if images.dtype == torch.float64 or self.weight.dtype != torch.float32:
            return None
        num_images, _, height, width = images.shape
        num_pixels = num_images * height * width
        channels = self.in_channels, self.out_channels
        return choose_algorithm(ConvProblem(compute_dtype(images), *channels, num_images, num_pixels, self.training))

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  # the name that nn.Conv2d gives it
        """Return the convolution, float [n c_out h w], of maps, float [n c_in h w]."""
        if isinstance(input, Proxy):
            return fx_leaf(self, input)
        algorithm = self.algorithm(input)
        if algorithm is None:
            return super().forward(input)
        return conv3x3(input.to(compute_dtype(input)), self.weight, algorithm)


def compute_dtype(images: Tensor) -> torch.dtype:
    """Return the dtype in which a convolution of these images is computed: autocast's, if it is on, or their own."""
    return torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else images.dtype
