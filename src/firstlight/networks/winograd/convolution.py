"""The convolution and its gradients by Winograd's minimal filtering, F(4x4, 3x3), and the layer that uses it.

Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR 2016 (arXiv 1509.09308), equation 13. The
padded input is cut into tiles d of 6x6 that overlap by two, one for each 4x4 tile of the output; then

    Y = A' [ (G g G') * (B' d B) ] A

where * multiplies element by element, summed over the input channels. For all tiles and channels at once the product
is 36 matrix products, one for each element of the 6x6: that is where the time goes, and why this is fast on processors
whose matrix rate, not whose memory, is the bound. Where it is compiled and tiles of 3x3 fit the output better, it
is F(3x3, 3x3): 25 products, of tiles of 5x5.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from firstlight.networks.compiled import is_eager_on_cpu
from firstlight.networks.winograd.native import NativeWinograd, native_winograd
from firstlight.networks.winograd.plain import PlainWinograd
from firstlight.networks.winograd.way import FILTER, Winograd


def winograd_for(dtype: torch.dtype, channels_in: int, channels_out: int) -> Winograd:
    """Return the compiled way where it exists and knows maps of this type, else the one in PyTorch."""
    native = native_winograd()
    return native if native is not None and native.knows(dtype, channels_in, channels_out) else PlainWinograd()


class _WinogradConv(torch.autograd.Function):
    """The convolution and its gradients, all three products in the transformed domain."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, filters: Tensor) -> Tensor:
        ctx.save_for_backward(images, filters)
        way = winograd_for(images.dtype, filters.shape[1], filters.shape[0])
        return way.convolve(images.permute(0, 2, 3, 1), filters).permute(0, 3, 1, 2)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:
        images, filters = ctx.saved_tensors
        return winograd_gradients(images, filters, gradient, *ctx.needs_input_grad)


def winograd_gradients(
    images: Tensor, filters: Tensor, gradient: Tensor, of_images: bool, of_filters: bool
) -> tuple[Tensor | None, Tensor | None]:
    """Return the gradients of images and filters, each if it is asked for, from that of their convolution.

    All are shaped as in `winograd_conv2d`.
    """
    maps, map_gradient = images.permute(0, 2, 3, 1), gradient.permute(0, 2, 3, 1)
    way = winograd_for(images.dtype, filters.shape[1], filters.shape[0])
    of_maps, found = way.gradients(maps, filters, map_gradient, of_images, of_filters)
    return None if of_maps is None else of_maps.permute(0, 3, 1, 2), found


def winograd_conv2d(images: Tensor, filters: Tensor) -> Tensor:
    """Return the 3x3 convolution of maps, padded by one zero, with stride 1.

    The same function as `torch.nn.functional.conv2d(images, filters, padding=1)` but for rounding: in float32 the
    result and both gradients differ by about 2e-6 of their maximum, in bfloat16 by about 2e-2 (1e-2 of their standard
    deviation; the direct way 2e-3).

    Args:
        images: float [n c_in h w]; in channels_last memory format no copy is made.
        filters: float [c_out c_in 3 3]; float32 for images in bfloat16, too.

    Returns:
        Float [n c_out h w] of the images' type, in channels_last memory format.

    >>> images, filters = torch.randn(2, 3, 7, 9), torch.randn(5, 3, 3, 3)
    >>> torch.allclose(winograd_conv2d(images, filters), torch.conv2d(images, filters, padding=1), atol=1e-4)
    True
    """
    return _WinogradConv.apply(images, filters)


class Conv3x3(nn.Conv2d):
    """A 3x3 convolution without bias, padded by one, that takes Winograd's method where this is the faster way.

    That is on a CPU, with enough channels on both sides and enough tiles: in float32, in evaluation only where the
    method is compiled; in bfloat16 in training only, whose gradients are noisier than this rounding, where the CPU
    multiplies it by vectors (AVX512-BF16) and not by AMX tiles. What is traced, compiled or exported always holds the
    direct convolution.

    Args:
        channels_in: channels of the input.
        channels_out: channels of the output.
        winograd: whether Winograd's method may be used at all.
    """

    stands_for = "Conv2d"  # in tables and drawings

    def __init__(self, channels_in: int, channels_out: int, *, winograd: bool = True) -> None:
        super().__init__(channels_in, channels_out, kernel_size=FILTER, padding=1, bias=False)
        self.winograd = winograd

    def pays(self, images: Tensor) -> bool:
        """Whether Winograd's method will be used for this input, float [n c h w]."""
        if not self.winograd or not is_eager_on_cpu(images):
            return False
        if images.dtype == torch.float64 or self.weight.dtype != torch.float32:
            return False
        num_images, _, height, width = images.shape
        dtype = _arithmetic(images)
        case = dtype, min(self.in_channels, self.out_channels), num_images * height * width, self.training
        # The compiled way pays wherever the other does: where it does not, nothing needs to be compiled to find out.
        return NativeWinograd.pays(*case) and winograd_for(dtype, self.in_channels, self.out_channels).pays(*case)

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  # the name that nn.Conv2d gives it
        """Return the convolution, float [n c_out h w], of maps, float [n c_in h w]."""
        if self.pays(input):
            return winograd_conv2d(input.to(_arithmetic(input)), self.weight)
        return super().forward(input)


def _arithmetic(images: Tensor) -> torch.dtype:
    """Return the type in which a convolution of these images is computed."""
    return torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else images.dtype
