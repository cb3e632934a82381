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
    """How a batch of maps is cut into tiles, and the tiles into blocks of images that fit the cache.

    Everything here works on one block: maps are padded, cut and put together while they are in the cache.
    """

    def __init__(self, num_images: int, height: int, width: int, channels: int) -> None:
        self.height, self.width = height, width
        self.rows, self.columns = -(-height // OUTPUT_TILE), -(-width // OUTPUT_TILE)
        block = min(num_images, max(1, max(MIN_TILES, BLOCK // channels) // (self.rows * self.columns)))
        self.blocks = [slice(start, start + block) for start in range(0, num_images, block)]

    def input_tiles(self, maps: Tensor) -> Tensor:
        """Return the overlapping tiles, float [36 n*tiles*c], of maps, float [n h w c], with a border of zeros."""
        padded = self._empty(maps, border=1)
        inside = slice(1, 1 + self.height), slice(1, 1 + self.width)
        padded[:, inside[0], inside[1]] = maps
        for axis, side in ((1, inside[0]), (2, inside[1])):
            padded.narrow(axis, 0, side.start).zero_()
            padded.narrow(axis, side.stop, padded.shape[axis] - side.stop).zero_()
        return self._overlapping(padded).reshape(INPUT_TILE**2, -1)

    def add_input_tiles(self, tiles: Tensor, maps: Tensor) -> None:
        """Set maps, float [n h w c], to the sum of their tiles, float [36 n*tiles*c]: adjoint of `input_tiles`."""
        padded = self._empty(maps, border=1)
        padded[:, OUTPUT_TILE * self.rows :].zero_()  # where no tile's first four rows and columns come
        padded[:, :, OUTPUT_TILE * self.columns :].zero_()
        target = self._overlapping(padded)
        tiles = tiles.view(target.shape)
        for row in range(INPUT_TILE):
            for column in range(INPUT_TILE):  # one position of all tiles at a time
                if row < OUTPUT_TILE and column < OUTPUT_TILE:
                    target[row, column] = tiles[row, column]
                else:
                    target[row, column] += tiles[row, column]
        maps.copy_(padded[:, 1 : 1 + self.height, 1 : 1 + self.width])

    def output_tiles(self, maps: Tensor) -> Tensor:
        """Return the tiles, float [16 n*tiles*c], of maps, float [n h w c], filled up with zeros."""
        if self.height % OUTPUT_TILE or self.width % OUTPUT_TILE:
            whole = self._empty(maps, border=0)
            whole[:, : self.height, : self.width] = maps
            whole[:, self.height :].zero_()
            whole[:, :, self.width :].zero_()
            maps = whole
        return self._apart(maps).reshape(OUTPUT_TILE**2, -1)

    def put_output_tiles(self, tiles: Tensor, maps: Tensor) -> None:
        """Fill maps, float [n h w c], with their tiles, float [16 n*tiles*c], and leave out what hangs over."""
        is_whole = not (self.height % OUTPUT_TILE or self.width % OUTPUT_TILE)
        whole = maps if is_whole else self._empty(maps, border=0)
        target = self._apart(whole)
        target.copy_(tiles.view(target.shape))
        if not is_whole:
            maps.copy_(whole[:, : self.height, : self.width])

    def _empty(self, maps: Tensor, border: int) -> Tensor:
        height, width = OUTPUT_TILE * self.rows + 2 * border, OUTPUT_TILE * self.columns + 2 * border
        return maps.new_empty(len(maps), height, width, maps.shape[-1])

    def _overlapping(self, padded: Tensor) -> Tensor:
        """Return the tiles of padded maps as a view, float [6 6 n rows columns c]."""
        image, row, column, channel = padded.stride()
        size = (INPUT_TILE, INPUT_TILE, len(padded), self.rows, self.columns, padded.shape[-1])
        stride = (row, column, image, OUTPUT_TILE * row, OUTPUT_TILE * column, channel)
        return padded.as_strided(size, stride, padded.storage_offset())

    def _apart(self, whole: Tensor) -> Tensor:
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
        maps = images.permute(0, 2, 3, 1)
        output = images.new_empty(num_images, height, width, channels_out)
        transformed_images = []
        for block in tiling.blocks:
            transformed = (input_transform @ tiling.input_tiles(maps[block])).view(INPUT_TILE**2, -1, channels_in)
            products = torch.bmm(transformed, transformed_filters).view(INPUT_TILE**2, -1)
            tiling.put_output_tiles(output_transform @ products, output[block])
            transformed_images.append(transformed)
        ctx.save_for_backward(transformed_filters, *transformed_images)
        ctx.tiling = tiling
        return output.permute(0, 3, 1, 2)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:
        transformed_filters, *transformed_images = ctx.saved_tensors
        tiling: _Tiling = ctx.tiling
        of_images, of_filters = ctx.needs_input_grad
        _, channels_in, channels_out = transformed_filters.shape
        input_transform, filter_transform, output_transform = _transforms(gradient.dtype)
        maps = gradient.permute(0, 2, 3, 1)
        image_gradient = gradient.new_empty(*maps.shape[:3], channels_in) if of_images else None
        filter_products = torch.zeros_like(transformed_filters)
        for block, transformed in zip(tiling.blocks, transformed_images, strict=True):
            tiles = output_transform.T @ tiling.output_tiles(maps[block])
            products = tiles.view(INPUT_TILE**2, -1, channels_out)
            if of_filters:
                filter_products.baddbmm_(transformed.transpose(1, 2), products)
            if image_gradient is not None:
                back = torch.bmm(products, transformed_filters.transpose(1, 2)).view(INPUT_TILE**2, -1)
                tiling.add_input_tiles(input_transform.T @ back, image_gradient[block])
        taps = (filter_transform.T @ filter_products.view(INPUT_TILE**2, -1)).view(FILTER, FILTER, channels_in, -1)
        return (
            None if image_gradient is None else image_gradient.permute(0, 3, 1, 2),
            taps.permute(3, 2, 0, 1) if of_filters else None,
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
    >>> torch.allclose(winograd_conv2d(images, filters), torch.conv2d(images, filters, padding=1), atol=1e-4)
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
