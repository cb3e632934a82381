"""Batch norm with a native CPU kernel for training; PyTorch's implementation takes a seventh of a training step."""

from __future__ import annotations

import ctypes
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.fx import Proxy
from torch.nn import functional as F

from firstlight.native.dispatch import call_for, fx_leaf, is_eager_on_cpu, is_enabled
from firstlight.native.double_backward import differentiable_gradients
from firstlight.native.libraries import load_library

SOURCE = Path(__file__).with_name("batch_norm.cpp")
DTYPES = (torch.float32, torch.bfloat16)
MIN_ELEMENTS = 2**18  # smallest input for which the kernel is faster
# Largest squared distance of a mean from its pivot, as a multiple of the variance. At this distance rounding changes
# the variance by 0.1 %.
MAX_SQUARED_DISTANCE = 100


class Moments(NamedTuple):
    """Mean and variance of maps over images and pixels.

    Args:
        mean: Mean of each channel, float32 [c].
        variance: Biased variance of each channel (divided by n, not n - 1), float32 [c].
    """

    mean: Tensor
    variance: Tensor

    @classmethod
    def from_sums(cls, pivots: Tensor, sums: Tensor, num_elements: int) -> Moments:
        """Compute the moments of `num_elements` numbers from the sums of x - pivot and of its square, float64 [2 c]."""
        first, second = sums / num_elements
        return cls((pivots + first).float(), (second - first.square()).clamp_min(0).float())

    def is_accurate(self, pivots: Tensor) -> bool:
        """Whether the variances are accurate: float32 sums lose digits if the pivots are far from the means.

        If this is False, or a pivot is NaN, the moments must be recomputed.
        """
        is_near = (self.mean - pivots).square() <= MAX_SQUARED_DISTANCE * self.variance
        return bool((is_near & self.variance.isfinite()).all())

    def deviation(self, epsilon: float) -> Tensor:
        """Return the standard deviation, sqrt(variance + epsilon), float32 [c]."""
        return (self.variance + epsilon).sqrt()

    def scale_and_shift(self, weight: Tensor, bias: Tensor, epsilon: float) -> tuple[Tensor, Tensor]:
        """Return scale and shift, float32 [c]: the normalized maps are x * scale + shift."""
        scales = weight / self.deviation(epsilon)
        return scales, bias - self.mean * scales


def compute_moments(maps: Tensor) -> Moments:
    """Compute mean and variance of maps [n h w c] with the native kernel."""
    num_images, height, width, channels = maps.shape
    pivots = maps[0, 0, 0].float()  # differences from a pivot near the mean are small, and their sums accurate
    sums = _sums("moments", maps, pivots, shape=(num_images, height * width, channels))
    return Moments.from_sums(pivots, sums, num_images * height * width)


def normalize(maps: Tensor, scales: Tensor, shifts: Tensor, *, with_gelu: bool = False) -> tuple[Tensor, Tensor | None]:
    """Compute maps * scales + shifts with the native kernel, for maps [n h w c], scales and shifts float32 [c].

    Returns:
        The result, [n h w c], and None; with GELU, the GELU of the result and its slopes (derivatives), both [n h w c].
    """
    num_images, height, width, channels = maps.shape
    output = torch.empty_like(maps)
    slopes = torch.empty_like(maps) if with_gelu else None
    _call("normalize", maps, scales, shifts, output, slopes, num_images, height * width, channels)
    return output, slopes


def gradients(
    gradient: Tensor,
    maps: Tensor,
    slopes: Tensor | None,
    indices: Tensor | None,
    moments: Moments,
    scales: Tensor,
    epsilon: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Compute the gradients of maps, weight and bias with the native kernel (Ioffe and Szegedy 2015, section 3).

    The gradient through mean and variance is included. If only some images have a gradient, the moments of the whole
    batch are used as if they were the moments of these images.

    Args:
        gradient: Gradient of the output of some images, [k h w c].
        maps: Input of the layer for all images, [n h w c].
        slopes: Derivatives of GELU for all images, [n h w c], if GELU follows; None otherwise.
        indices: Indices of those images, int64 [k]; None if all images have a gradient.
        moments: Mean and variance of the maps.
        scales: Weight of the layer, float32 [c].
        epsilon: Number that is added to the variance.

    Returns:
        Gradients of the maps, [k h w c], of the weight and of the bias, both float32 [c].
    """
    gradient = gradient.contiguous()
    num_images, height, width, channels = gradient.shape
    num_elements, shape = num_images * height * width, (num_images, height * width, channels)
    indices = torch.arange(num_images) if indices is None else indices.contiguous()
    sums = _sums("correlate", gradient, maps, slopes, indices, moments.mean, shape=shape).float()
    deviation = moments.deviation(epsilon)
    grad_shifts, grad_scales = sums[0], sums[1] / deviation
    gradient_factors = scales / deviation
    map_factors = -gradient_factors * grad_scales / (deviation * num_elements)
    constants = -gradient_factors * grad_shifts / num_elements - map_factors * moments.mean
    output = torch.empty_like(gradient)
    coefficients = torch.stack([gradient_factors, map_factors, constants])
    _call("gradient", gradient, maps, slopes, indices, coefficients, output, *shape)
    return output, grad_scales, grad_shifts


class _BatchNorm(torch.autograd.Function):
    """Batch norm in training and its gradients; also returns the moments."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, weight: Tensor, bias: Tensor, epsilon: float) -> tuple[Tensor, ...]:
        maps = images.permute(0, 2, 3, 1).contiguous()
        moments = compute_moments(maps)
        output, _ = normalize(maps, *moments.scale_and_shift(weight, bias, epsilon))
        ctx.save_for_backward(images, weight, bias, *moments)
        ctx.mark_non_differentiable(*moments)
        ctx.epsilon = epsilon
        return output.permute(0, 3, 1, 2), *moments

    @staticmethod
    def backward(ctx: Any, gradient: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        images, weight, bias, mean, variance = ctx.saved_tensors
        if torch.is_grad_enabled():
            layer = partial(_batch_norm, epsilon=ctx.epsilon)
            return *differentiable_gradients(layer, [images, weight, bias], ctx.needs_input_grad[:3], gradient), None
        maps, moments = images.permute(0, 2, 3, 1).contiguous(), Moments(mean, variance)
        found = gradients(gradient.permute(0, 2, 3, 1), maps, None, None, moments, weight, ctx.epsilon)
        return found[0].permute(0, 3, 1, 2), *found[1:], None


def _batch_norm(images: Tensor, weight: Tensor, bias: Tensor, epsilon: float) -> Tensor:
    """Return PyTorch's batch norm with the statistics of the batch; the running statistics are already updated."""
    return F.batch_norm(images, None, None, weight, bias, training=True, eps=epsilon)


class BatchNorm(nn.BatchNorm2d):
    """Normalization over images and pixels (Ioffe and Szegedy 2015, arXiv 1502.03167), like `nn.BatchNorm2d`.

    Large inputs in training on a CPU with a C++ compiler use a native kernel, whose output is in channels_last memory
    format. Traced, compiled and exported networks contain PyTorch's operation.

    >>> normal = BatchNorm(3)(torch.rand(8, 3, 4, 4))
    >>> torch.allclose(normal.mean(dim=(0, 2, 3)), torch.zeros(3), atol=1e-5)
    True
    """

    stands_for = "BatchNorm2d"  # in tables and drawings

    def is_faster(self, images: Tensor) -> bool:
        """Whether the native kernel is used for this input, float [n c h w]."""
        if not (self.training and is_eager_on_cpu(images)) or images.dtype not in DTYPES or images.ndim != 4:
            return False
        if images.numel() < MIN_ELEMENTS or self.momentum is None or self.running_mean is None or self.weight is None:
            return False
        return self.weight.dtype == torch.float32 and is_enabled("batch_norm") and _library() is not None

    def update_running_stats(self, moments: Moments, num_elements: int) -> None:
        """Update the running statistics by the moments of `num_elements` numbers of each channel."""
        momentum = cast(float, self.momentum)
        cast(Tensor, self.num_batches_tracked).add_(1)
        cast(Tensor, self.running_mean).lerp_(moments.mean, momentum)
        cast(Tensor, self.running_var).lerp_(moments.variance * (num_elements / (num_elements - 1)), momentum)

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  # the name that nn.BatchNorm2d gives it
        """Return the normalized maps, float [n c h w]."""
        if isinstance(input, Proxy):
            return fx_leaf(self, input)
        if not self.is_faster(input):
            return super().forward(input)
        output, *moments = _BatchNorm.apply(input, self.weight, self.bias, self.eps)
        with torch.no_grad():
            self.update_running_stats(Moments(*moments), input.numel() // input.shape[1])
        return output


def _sums(name: str, *arguments: Tensor | None, shape: tuple[int, int, int]) -> Tensor:
    """Return the two sums that a native function computes for maps of shape [n pixels c], float64 [2 c]."""
    sums = torch.empty(torch.get_num_threads(), 2, shape[2], dtype=torch.float64)
    _call(name, *arguments, sums, *shape)
    return sums.sum(0)


def _library() -> ctypes.CDLL | None:
    return load_library(SOURCE, "batch_norm")


def _call(name: str, maps: Tensor | None, *arguments: Tensor | int | None) -> None:
    assert maps is not None
    call_for(maps.dtype, _library(), name, maps, *arguments)
