"""2x2 max pooling with a native CPU kernel; PyTorch's implementation takes a tenth of a training step."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import Proxy

from firstlight.native.dispatch import TYPES, call_for, fx_leaf, is_eager_on_cpu, is_enabled
from firstlight.native.libraries import load_library

SOURCE = Path(__file__).with_name("max_pool.cpp")
MIN_ELEMENTS = 2**18  # smallest input for which the kernel is faster


class _MaxPool(torch.autograd.Function):
    """Max pooling and its gradient, for which one byte per output is stored."""

    @staticmethod
    def forward(ctx: Any, images: Tensor) -> Tensor:
        output, argmax = max_pool(images)
        ctx.save_for_backward(argmax)
        ctx.size = images.shape[2:]
        return output

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (argmax,) = ctx.saved_tensors
        return _MaxPoolGradient.apply(gradient, argmax, *ctx.size)


class _MaxPoolGradient(torch.autograd.Function):
    """The gradient of max pooling. It is linear in the output's gradient; its own gradient selects the maxima."""

    @staticmethod
    def forward(ctx: Any, gradient: Tensor, argmax: Tensor, height: int, width: int) -> Tensor:
        ctx.save_for_backward(argmax)
        return max_pool_gradient(gradient, argmax, height, width)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        (argmax,) = ctx.saved_tensors
        return pick_maxima(gradient, argmax), None, None, None


def max_pool(images: Tensor) -> tuple[Tensor, Tensor]:
    """Pool images [n c h w] with the native kernel.

    Returns:
        The maxima, [n c h//2 w//2], and the position of each in its window, 0 to 3 row by row, uint8 [n h//2 w//2 c].
    """
    maps = images.permute(0, 2, 3, 1).contiguous()
    num_images, height, width, channels = maps.shape
    output = maps.new_empty(num_images, height // 2, width // 2, channels)
    argmax = output.new_empty(output.shape, dtype=torch.uint8)
    _call("pool", maps.dtype, maps, output, argmax, *maps.shape)
    return output.permute(0, 3, 1, 2), argmax


def max_pool_gradient(gradient: Tensor, argmax: Tensor, height: int, width: int) -> Tensor:
    """Return the gradient of the input, [n c height width], from the gradient of the maxima and their positions."""
    gradient = gradient.permute(0, 2, 3, 1).contiguous()
    num_images, _, _, channels = argmax.shape
    shape = num_images, height, width, channels
    grad_maps = gradient.new_empty(shape)
    _call("pool_gradient", gradient.dtype, gradient, argmax, grad_maps, *shape)
    return grad_maps.permute(0, 3, 1, 2)


def pick_maxima(maps: Tensor, argmax: Tensor) -> Tensor:
    """Return the pixel at `argmax` of every 2x2 window, [n c h//2 w//2], of maps [n c h w], by PyTorch's operations."""
    rows, columns = argmax.shape[1:3]
    windows = maps[:, :, : 2 * rows, : 2 * columns].unflatten(3, (columns, 2)).unflatten(2, (rows, 2))
    pixels = windows.permute(0, 1, 2, 4, 3, 5).flatten(4)  # [n c rows columns 4]
    return pixels.gather(4, argmax.permute(0, 3, 1, 2).long()[..., None]).squeeze(4)


class MaxPool2x2(nn.MaxPool2d):
    """The maximum of every window of 2x2: equal to `nn.MaxPool2d(2)` to the last bit, in values and gradients.

    Large inputs on a CPU with a C++ compiler use a native kernel, whose output is in channels_last memory format.
    Traced, compiled and exported networks contain PyTorch's operation.

    >>> MaxPool2x2()(torch.tensor([[[[1.0, 2.0, 5.0], [4.0, 3.0, 6.0]]]])).tolist()
    [[[[4.0]]]]
    """

    stands_for = "MaxPool2d"  # in tables and drawings

    def __init__(self) -> None:
        super().__init__(2)

    def is_faster(self, images: Tensor) -> bool:
        """Whether the native kernel is used for this input, float [n c h w]."""
        if not is_eager_on_cpu(images) or images.dtype not in TYPES or images.numel() < MIN_ELEMENTS:
            return False
        if images.ndim != 4 or min(images.shape[2:]) < 2:
            return False
        return is_enabled("max_pool") and _library() is not None

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  # the name that nn.MaxPool2d gives it
        """Return the maxima, float [n c h//2 w//2], of maps, float [n c h w]."""
        if isinstance(input, Proxy):
            return fx_leaf(self, input)
        return _MaxPool.apply(input) if self.is_faster(input) else super().forward(input)


def _library() -> ctypes.CDLL | None:
    return load_library(SOURCE, "max_pool")


def _call(name: str, dtype: torch.dtype, *arguments: Tensor | int) -> None:
    call_for(dtype, _library(), name, *arguments)
