"""Batch norm, compiled where there is a compiler: PyTorch's own takes a seventh of a training step on a CPU."""

from __future__ import annotations

import ctypes
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.fx import Proxy
from torch.nn import functional as F

from firstlight.native.compiler import compiled
from firstlight.native.dispatch import call_for, fx_leaf, is_eager_on_cpu, is_enabled
from firstlight.native.double_backward import differentiable_gradients

SOURCE = Path(__file__).with_name("batch_norm.cpp")
DTYPES = (torch.float32, torch.bfloat16)
MIN_NUMBERS = 2**18  # below, nothing needs to be compiled
MAX_SQUARE = 100  # of a mean's distance from its pivot, in variances: then a thousandth of these is lost


class Moments(NamedTuple):
    """Of maps, over images and pixels.

    Args:
        mean: of each channel, float32 [c].
        variance: of the same, of the images at hand: not corrected for their number.
    """

    mean: Tensor
    variance: Tensor

    @classmethod
    def about(cls, pivots: Tensor, sums: Tensor, num_numbers: int) -> Moments:
        """Return them from sums of what is above the pivots, and of the squares, float64 [2 c], of so many numbers."""
        first, second = sums / num_numbers
        return cls((pivots + first).float(), (second - first.square()).clamp_min(0).float())

    def can_be_told_from(self, pivots: Tensor) -> bool:
        """Whether all means were so near the pivots that the squares about these, of floats, did not hide a variance.

        If not, or where a pivot is no number, the moments must be taken anew.
        """
        is_near = (self.mean - pivots).square() <= MAX_SQUARE * self.variance
        return bool((is_near & self.variance.isfinite()).all())

    def deviation(self, epsilon: float) -> Tensor:
        """Return what is divided by, float32 [c]."""
        return (self.variance + epsilon).sqrt()

    def normalizing(self, weight: Tensor, bias: Tensor, epsilon: float) -> tuple[Tensor, Tensor]:
        """Return what maps are multiplied by, and what is added then, float32 [c], to normalize them."""
        factors = weight / self.deviation(epsilon)
        return factors, bias - self.mean * factors


def moments(maps: Tensor) -> Moments:
    """Compute mean and variance of maps [n h w c] with the native kernel."""
    num_images, height, width, channels = maps.shape
    pivots = maps[0, 0, 0].float()  # sums of what lies near zero round least
    sums = _sums("moments", maps, pivots, shape=(num_images, height * width, channels))
    return Moments.about(pivots, sums, num_images * height * width)


def normalize(
    maps: Tensor, factors: Tensor, summands: Tensor, *, with_gelu: bool = False
) -> tuple[Tensor, Tensor | None]:
    """Scale and shift maps [n h w c] by factors and summands, both float32 [c], with the native kernel.

    With GELU, return its values there, and its slopes.
    """
    num_images, height, width, channels = maps.shape
    output = torch.empty_like(maps)
    slopes = torch.empty_like(maps) if with_gelu else None
    _call("normalize", maps, factors, summands, output, slopes, num_images, height * width, channels)
    return output, slopes


def gradients(
    gradient: Tensor,
    maps: Tensor,
    slopes: Tensor | None,
    places: Tensor | None,
    of: Moments,
    factors: Tensor,
    epsilon: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Compute the gradients of maps, factors and summands from that of the output, with the native kernel.

    Mean and variance of the maps depend on them, too. They are taken for those of the images that have a gradient.

    Args:
        gradient: of the output, [k h w c], of some images.
        maps: what was normalized, [n h w c], of all.
        slopes: of GELU, likewise, where it came after.
        places: where those images are among these, int64 [k]; None if they are all.
        of: mean and variance of the maps.
        factors: of the output, float32 [c]: what the normalized maps were multiplied by.
        epsilon: what was added to the variance.
    """
    gradient = gradient.contiguous()
    num_images, height, width, channels = gradient.shape
    num_numbers, shape = num_images * height * width, (num_images, height * width, channels)
    places = torch.arange(num_images) if places is None else places.contiguous()
    sums = _sums("correlate", gradient, maps, slopes, places, of.mean, shape=shape).float()
    deviation = of.deviation(epsilon)
    of_summands, of_factors = sums[0], sums[1] / deviation
    of_gradient = factors / deviation
    of_maps = -of_gradient * of_factors / (deviation * num_numbers)
    rest = -of_gradient * of_summands / num_numbers - of_maps * of.mean
    output = torch.empty_like(gradient)
    coefficients = torch.stack([of_gradient, of_maps, rest])
    _call("gradient", gradient, maps, slopes, places, coefficients, output, *shape)
    return output, of_factors, of_summands


class _BatchNorm(torch.autograd.Function):
    """The layer's function in training, and its gradients; the moments come with it."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, weight: Tensor, bias: Tensor, epsilon: float) -> tuple[Tensor, ...]:
        maps = images.permute(0, 2, 3, 1).contiguous()
        of = moments(maps)
        output, _ = normalize(maps, *of.normalizing(weight, bias, epsilon))
        ctx.save_for_backward(images, weight, bias, *of)
        ctx.mark_non_differentiable(*of)
        ctx.epsilon = epsilon
        return output.permute(0, 3, 1, 2), *of

    @staticmethod
    def backward(ctx: Any, gradient: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        images, weight, bias, mean, variance = ctx.saved_tensors
        if torch.is_grad_enabled():
            layer = partial(_batch_norm, epsilon=ctx.epsilon)
            return *differentiable_gradients(layer, [images, weight, bias], ctx.needs_input_grad[:3], gradient), None
        maps, of = images.permute(0, 2, 3, 1).contiguous(), Moments(mean, variance)
        found = gradients(gradient.permute(0, 2, 3, 1), maps, None, None, of, weight, ctx.epsilon)
        return found[0].permute(0, 3, 1, 2), *found[1:], None


def _batch_norm(images: Tensor, weight: Tensor, bias: Tensor, epsilon: float) -> Tensor:
    """Return PyTorch's batch norm by the statistics of the batch, whose running statistics have been updated before."""
    return F.batch_norm(images, None, None, weight, bias, training=True, eps=epsilon)


class BatchNorm(nn.BatchNorm2d):
    """Normalization over images and pixels (Ioffe and Szegedy 2015, arXiv 1502.03167), as `nn.BatchNorm2d` has it.

    In training on a CPU, for enough numbers, it runs a native kernel, where there is a compiler; the result is then in
    channels_last memory format. What is traced, compiled or exported always holds PyTorch's.

    >>> normal = BatchNorm(3)(torch.rand(8, 3, 4, 4))
    >>> torch.allclose(normal.mean(dim=(0, 2, 3)), torch.zeros(3), atol=1e-5)
    True
    """

    stands_for = "BatchNorm2d"  # in tables and drawings

    def is_faster(self, images: Tensor) -> bool:
        """Return whether the native kernel is used for this input, float [n c h w]."""
        if not (self.training and is_eager_on_cpu(images)) or images.dtype not in DTYPES or images.ndim != 4:
            return False
        if images.numel() < MIN_NUMBERS or self.momentum is None or self.running_mean is None or self.weight is None:
            return False
        return self.weight.dtype == torch.float32 and is_enabled("batch_norm") and _library() is not None

    def update_running_stats(self, of: Moments, num_numbers: int) -> None:
        """Let the running statistics follow the moments of so many numbers of each channel."""
        momentum = cast(float, self.momentum)
        cast(Tensor, self.num_batches_tracked).add_(1)
        cast(Tensor, self.running_mean).lerp_(of.mean, momentum)
        cast(Tensor, self.running_var).lerp_(of.variance * (num_numbers / (num_numbers - 1)), momentum)

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  # the name that nn.BatchNorm2d gives it
        """Return the normalized maps, float [n c h w]."""
        if isinstance(input, Proxy):
            return fx_leaf(self, input)
        if not self.is_faster(input):
            return super().forward(input)
        output, *of = _BatchNorm.apply(input, self.weight, self.bias, self.eps)
        with torch.no_grad():
            self.update_running_stats(Moments(*of), input.numel() // input.shape[1])
        return output


def _sums(name: str, *arguments: Tensor | None, shape: tuple[int, int, int]) -> Tensor:
    """Return sums, float64 [2 c], of what a function of the library adds up for maps of a shape [n pixels c]."""
    sums = torch.empty(torch.get_num_threads(), 2, shape[2], dtype=torch.float64)
    _call(name, *arguments, sums, *shape)
    return sums.sum(0)


def _library() -> ctypes.CDLL | None:
    return compiled(SOURCE)


def _call(name: str, maps: Tensor | None, *arguments: Tensor | int | None) -> None:
    assert maps is not None
    call_for(maps.dtype, _library(), name, maps, *arguments)
