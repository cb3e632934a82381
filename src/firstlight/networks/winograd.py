"""3x3 convolution with a quarter of the multiplications: Winograd's minimal filtering F(4x4, 3x3).

Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR 2016 (arXiv 1509.09308), equation 13. The
padded input is cut into tiles d of 6x6 that overlap by two, one for each 4x4 tile of the output; then

    Y = A' [ (G g G') * (B' d B) ] A

where * multiplies element by element, summed over the input channels. For all tiles and channels at once the product
is 36 matrix products, one for each element of the 6x6: that is where the time goes, and why this is fast on processors
whose matrix rate, not whose memory, is the bound.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

OUTPUT_TILE, INPUT_TILE, FILTER = 4, 6, 3
# Tiles times channels in work at once: the transformed maps of one block, 36 numbers for each, stay in the cache.
BLOCK = 2**17
MIN_TILES = 256
MIN_CHANNELS = 32

# The transforms B', G and A' of the paper's section 4.3.
INPUT_TRANSFORM = [
    [4, 0, -5, 0, 1, 0],
    [0, -4, -4, 1, 1, 0],
    [0, 4, -4, -1, 1, 0],
    [0, -2, -1, 2, 1, 0],
    [0, 2, -1, -2, 1, 0],
    [0, 4, 0, -5, 0, 1],
]
FILTER_TRANSFORM = [
    [1 / 4, 0, 0],
    [-1 / 6, -1 / 6, -1 / 6],
    [-1 / 6, 1 / 6, -1 / 6],
    [1 / 24, 1 / 12, 1 / 6],
    [1 / 24, -1 / 12, 1 / 6],
    [0, 0, 1],
]
OUTPUT_TRANSFORM = [
    [1, 1, 1, 1, 1, 0],
    [0, 1, -1, 2, -2, 0],
    [0, 1, 1, 4, 4, 0],
    [0, 1, -1, 8, -8, 1],
]


def _transforms(dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    """Return the transforms of input, filter and output as matrices that work on flattened square tiles."""
    matrices = (torch.tensor(m, dtype=dtype) for m in (INPUT_TRANSFORM, FILTER_TRANSFORM, OUTPUT_TRANSFORM))
    of_input, of_filter, of_output = (torch.kron(matrix, matrix) for matrix in matrices)
    return of_input, of_filter, of_output


class _Tiling:
    """How a batch of maps is cut into tiles, and the tiles into blocks of images that fit the cache."""

    def __init__(self, num_images: int, height: int, width: int, channels: int) -> None:
        self.num_images, self.height, self.width = num_images, height, width
        self.rows, self.columns = -(-height // OUTPUT_TILE), -(-width // OUTPUT_TILE)
        tiles_per_image = self.rows * self.columns
        self.block = min(num_images, max(1, max(MIN_TILES, BLOCK // channels) // tiles_per_image))
        self.starts = range(0, num_images, self.block)

    def pad(self, images: Tensor) -> Tensor:
        """Return the maps float [n h w c] with a border of one zero, and more below and right to whole tiles."""
        below, right = OUTPUT_TILE * self.rows - self.height, OUTPUT_TILE * self.columns - self.width
        return F.pad(images, (0, 0, 1, 1 + right, 1, 1 + below))

    def input_tiles(self, padded: Tensor) -> Tensor:
        """Return the overlapping tiles of padded maps as a view, float [6 6 n rows columns c]."""
        image, row, column, channel = padded.stride()
        size = (INPUT_TILE, INPUT_TILE, len(padded), self.rows, self.columns, padded.shape[-1])
        stride = (row, column, image, OUTPUT_TILE * row, OUTPUT_TILE * column, channel)
        return padded.as_strided(size, stride, padded.storage_offset())

    def output_tiles(self, whole: Tensor) -> Tensor:
        """Return the tiles of maps of whole tiles as a view, float [4 4 n rows columns c]."""
        shape = (len(whole), self.rows, OUTPUT_TILE, self.columns, OUTPUT_TILE, whole.shape[-1])
        return whole.view(shape).permute(2, 4, 0, 1, 3, 5)


class _WinogradConv(torch.autograd.Function):
    """The convolution and its gradients, all three products in the transformed domain."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, filters: Tensor) -> Tensor:
        channels_out, channels_in = filters.shape[:2]
        num_images, _, height, width = images.shape
        tiling = _Tiling(num_images, height, width, max(channels_in, channels_out))
        input_transform, filter_transform, output_transform = _transforms(images.dtype)

        taps = filters.permute(2, 3, 1, 0).reshape(FILTER**2, -1)
        transformed_filters = (filter_transform @ taps).view(-1, channels_in, channels_out)
        padded = tiling.pad(images.permute(0, 2, 3, 1))
        whole = images.new_empty(num_images, OUTPUT_TILE * tiling.rows, OUTPUT_TILE * tiling.columns, channels_out)
        transformed_images = []
        for start in tiling.starts:
            block = slice(start, start + tiling.block)
            tiles = tiling.input_tiles(padded[block]).reshape(INPUT_TILE**2, -1)
            transformed = (input_transform @ tiles).view(INPUT_TILE**2, -1, channels_in)
            products = torch.bmm(transformed, transformed_filters).view(INPUT_TILE**2, -1)
            target = tiling.output_tiles(whole[block])
            target.copy_((output_transform @ products).view(target.shape))
            transformed_images.append(transformed)
        ctx.save_for_backward(transformed_filters, *transformed_images)
        ctx.tiling = tiling
        return whole[:, :height, :width].permute(0, 3, 1, 2)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:
        transformed_filters, *transformed_images = ctx.saved_tensors
        tiling: _Tiling = ctx.tiling
        _, channels_in, channels_out = transformed_filters.shape
        input_transform, filter_transform, output_transform = _transforms(gradient.dtype)
        below, right = OUTPUT_TILE * tiling.rows - tiling.height, OUTPUT_TILE * tiling.columns - tiling.width
        whole = gradient.permute(0, 2, 3, 1).contiguous()
        if below or right:
            whole = F.pad(whole, (0, 0, 0, right, 0, below))

        filter_products = torch.zeros_like(transformed_filters)
        padded = gradient.new_zeros(
            tiling.num_images, OUTPUT_TILE * tiling.rows + 2, OUTPUT_TILE * tiling.columns + 2, channels_in
        )
        for start, transformed in zip(tiling.starts, transformed_images, strict=True):
            block = slice(start, start + tiling.block)
            tiles = tiling.output_tiles(whole[block]).reshape(OUTPUT_TILE**2, -1)
            products = (output_transform.T @ tiles).view(INPUT_TILE**2, -1, channels_out)
            if ctx.needs_input_grad[1]:
                filter_products.baddbmm_(transformed.transpose(1, 2), products)
            if ctx.needs_input_grad[0]:
                back = torch.bmm(products, transformed_filters.transpose(1, 2)).view(INPUT_TILE**2, -1)
                target = tiling.input_tiles(padded[block])
                overlapping = (input_transform.T @ back).view(target.shape)
                for row in range(INPUT_TILE):
                    for column in range(INPUT_TILE):
                        target[row, column] += overlapping[row, column]  # tiles overlap: one position at a time
        image_gradient = padded[:, 1 : tiling.height + 1, 1 : tiling.width + 1].contiguous().permute(0, 3, 1, 2)
        filter_gradient = (filter_transform.T @ filter_products.view(INPUT_TILE**2, -1)).view(
            FILTER, FILTER, channels_in, channels_out
        )
        return (
            image_gradient if ctx.needs_input_grad[0] else None,
            filter_gradient.permute(3, 2, 0, 1) if ctx.needs_input_grad[1] else None,
        )


def winograd_conv2d(images: Tensor, filters: Tensor) -> Tensor:
    """Return the 3x3 convolution of maps, padded by one zero, with stride 1.

    The same function as `torch.nn.functional.conv2d(images, filters, padding=1)` but for rounding: in float32 the
    result and both gradients differ by about 1e-5 of their maximum.

    Args:
        images: float [n c_in h w]; in channels_last memory format no copy is made.
        filters: float [c_out c_in 3 3].

    Returns:
        Float [n c_out h w], in channels_last memory format.

    >>> images, filters = torch.randn(2, 3, 7, 9), torch.randn(5, 3, 3, 3)
    >>> torch.allclose(winograd_conv2d(images, filters), F.conv2d(images, filters, padding=1), atol=1e-4)
    True
    """
    return _WinogradConv.apply(images, filters)


class Conv3x3(nn.Conv2d):
    """A 3x3 convolution without bias, padded by one, that trains by Winograd's method where this is the faster way.

    That is on a CPU, in float32 (where the CPU multiplies bfloat16 in hardware, training runs in it and the direct way
    is as fast), with at least `MIN_CHANNELS` channels on both sides and `MIN_TILES` tiles. Outside of training the
    convolution is the direct one, so a trained network's answers do not depend on this choice.

    Args:
        channels_in: channels of the input.
        channels_out: channels of the output.
        winograd: whether Winograd's method may be used at all.
    """

    def __init__(self, channels_in: int, channels_out: int, *, winograd: bool = True) -> None:
        super().__init__(channels_in, channels_out, kernel_size=FILTER, padding=1, bias=False)
        self.winograd = winograd

    def pays(self, images: Tensor) -> bool:
        """Whether Winograd's method will be used for this input, float [n c h w]."""
        return (
            self.winograd
            and self.training
            and images.device.type == "cpu"
            and images.dtype == torch.float32
            and images.requires_grad
            and not torch.is_autocast_enabled("cpu")
            and min(self.in_channels, self.out_channels) >= MIN_CHANNELS
            and images.shape[0] * images.shape[2] * images.shape[3] >= MIN_TILES * OUTPUT_TILE**2
        )

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  # the name that nn.Conv2d gives it
        """Return the convolution, float [n c_out h w], of maps, float [n c_in h w]."""
        if self.pays(input):
            return winograd_conv2d(input, self.weight)
        return super().forward(input)
