"""Winograd's convolution in PyTorch, for machines without a compiler."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from firstlight.layers.conv3x3.base import FILTER
from firstlight.layers.conv3x3.winograd_base import OUTPUT_TILE, Winograd, select_images

INPUT_TILE = OUTPUT_TILE + FILTER - 1
NUM_ELEMENTS = INPUT_TILE**2
# Tiles times channels in a block, so few that the products of a block, 36 numbers for each, stay in the cache.
BLOCK = 2**17
MIN_BLOCK_TILES = 256  # smallest number of tiles in a block

# The transforms B', G and A' of the paper's section 4.3, for the points 0, P, -P, Q, -Q and infinity. The paper has
# P = 1 and Q = 2; the values here halve the rounding error.
P, Q = 5 / 8, 3 / 2
INPUT_TRANSFORM = [
    [P**2 * Q**2, 0, -(P**2) - Q**2, 0, 1, 0],
    [0, -P * Q**2, -(Q**2), P, 1, 0],
    [0, P * Q**2, -(Q**2), -P, 1, 0],
    [0, -(P**2) * Q, -(P**2), Q, 1, 0],
    [0, P**2 * Q, -(P**2), -Q, 1, 0],
    [0, P**2 * Q**2, 0, -(P**2) - Q**2, 0, 1],
]
AT_P, AT_Q = 2 * P**2 * (P**2 - Q**2), 2 * Q**2 * (Q**2 - P**2)
FILTER_TRANSFORM = [
    [1 / (P**2 * Q**2), 0, 0],
    [1 / AT_P, P / AT_P, P**2 / AT_P],
    [1 / AT_P, -P / AT_P, P**2 / AT_P],
    [1 / AT_Q, Q / AT_Q, Q**2 / AT_Q],
    [1 / AT_Q, -Q / AT_Q, Q**2 / AT_Q],
    [0, 0, 1],
]
OUTPUT_TRANSFORM = [
    [1, 1, 1, 1, 1, 0],
    [0, P, -P, Q, -Q, 0],
    [0, P**2, P**2, Q**2, Q**2, 0],
    [0, P**3, -(P**3), Q**3, -(Q**3), 1],
]


class TorchWinograd(Winograd):
    """`Winograd` made of matrix products only: the transforms are products with flattened tiles."""

    min_channels: ClassVar = {torch.float32: 32}
    min_tiles = 256
    is_faster_forward = False

    def supports(self, dtype: torch.dtype, channels_in: int, channels_out: int) -> bool:  # noqa: ARG002, D102  # see ConvAlgorithm
        return dtype.is_floating_point

    def convolve(self, maps: Tensor, filters: Tensor) -> Tensor:  # noqa: D102
        transforms, tiling = _Transforms(maps.dtype), _Tiling(maps, len(filters))
        transformed_filters = transforms.filters(filters)
        output = maps.new_empty(*maps.shape[:3], len(filters))
        for block in tiling.blocks:
            transformed = (transforms.input @ tiling.input_tiles(maps[block])).view(NUM_ELEMENTS, -1, maps.shape[-1])
            products = torch.bmm(transformed, transformed_filters).view(NUM_ELEMENTS, -1)
            tiling.put_output_tiles(transforms.output @ products, output[block])
        return output

    def gradients(  # noqa: D102
        self,
        maps: Tensor,
        filters: Tensor,
        gradient: Tensor,
        needs_maps: bool,
        needs_filters: bool,
        *,
        indices: Tensor | None = None,
    ) -> tuple[Tensor | None, Tensor | None]:
        maps = select_images(maps, indices)
        transforms, tiling = _Transforms(maps.dtype), _Tiling(maps, len(filters))
        channels_out, channels_in = filters.shape[:2]
        transformed_filters = transforms.filters(filters)
        map_gradient = maps.new_empty(maps.shape) if needs_maps else None
        filter_products = torch.zeros_like(transformed_filters)
        for block in tiling.blocks:
            tiles = transforms.output.T @ tiling.output_tiles(gradient[block])
            products = tiles.view(NUM_ELEMENTS, -1, channels_out)
            if needs_filters:
                transformed = (transforms.input @ tiling.input_tiles(maps[block])).view(NUM_ELEMENTS, -1, channels_in)
                filter_products.baddbmm_(transformed.transpose(1, 2), products)
            if map_gradient is not None:
                map_products = torch.bmm(products, transformed_filters.transpose(1, 2)).view(NUM_ELEMENTS, -1)
                tiling.add_input_tiles(transforms.input.T @ map_products, map_gradient[block])
        return map_gradient, transforms.filters_adjoint(filter_products) if needs_filters else None


class _Transforms:
    """The transforms of input, filter and output as matrices that work on flattened square tiles."""

    def __init__(self, dtype: torch.dtype) -> None:
        matrices = (torch.tensor(m, dtype=dtype) for m in (INPUT_TRANSFORM, FILTER_TRANSFORM, OUTPUT_TRANSFORM))
        self.input, self.filter, self.output = (torch.kron(matrix, matrix) for matrix in matrices)

    def filters(self, filters: Tensor) -> Tensor:
        """Return the products, [36 c_in c_out], of filters [c_out c_in 3 3]."""
        channels_out, channels_in = filters.shape[:2]
        taps = filters.permute(2, 3, 1, 0).reshape(FILTER**2, -1)
        return (self.filter @ taps).view(NUM_ELEMENTS, channels_in, channels_out)

    def filters_adjoint(self, products: Tensor) -> Tensor:
        """Return filters [c_out c_in 3 3] from products [36 c_in c_out]: the adjoint of `filters`."""
        taps = self.filter.T @ products.view(NUM_ELEMENTS, -1)
        return taps.view(FILTER, FILTER, *products.shape[1:]).permute(3, 2, 0, 1)


class _Tiling:
    """Cuts maps into tiles and joins tiles to maps, for blocks of images that fit into the cache."""

    def __init__(self, maps: Tensor, channels_out: int) -> None:
        num_images, self.height, self.width, channels_in = maps.shape
        self.rows, self.columns = -(-self.height // OUTPUT_TILE), -(-self.width // OUTPUT_TILE)
        block = min(
            num_images,
            max(1, max(MIN_BLOCK_TILES, BLOCK // max(channels_in, channels_out)) // (self.rows * self.columns)),
        )
        self.blocks = [slice(start, start + block) for start in range(0, num_images, block)]

    def input_tiles(self, maps: Tensor) -> Tensor:
        """Return the overlapping tiles, float [36 n*tiles*c], of maps, float [n h w c], with a border of zeros."""
        padded = self._empty(maps, border=1)
        inside = slice(1, 1 + self.height), slice(1, 1 + self.width)
        padded[:, inside[0], inside[1]] = maps
        for axis, side in ((1, inside[0]), (2, inside[1])):
            padded.narrow(axis, 0, side.start).zero_()
            padded.narrow(axis, side.stop, padded.shape[axis] - side.stop).zero_()
        return self._overlapping(padded).reshape(NUM_ELEMENTS, -1)

    def add_input_tiles(self, tiles: Tensor, maps: Tensor) -> None:
        """Set maps, float [n h w c], to the sum of their tiles, float [36 n*tiles*c]: adjoint of `input_tiles`."""
        padded = self._empty(maps, border=1)
        padded[:, OUTPUT_TILE * self.rows :].zero_()  # the loop sets all other pixels before it adds to them
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
        """Return the tiles, float [16 n*tiles*c], of maps, float [n h w c], padded with zeros."""
        if self.height % OUTPUT_TILE or self.width % OUTPUT_TILE:
            whole = self._empty(maps, border=0)
            whole[:, : self.height, : self.width] = maps
            whole[:, self.height :].zero_()
            whole[:, :, self.width :].zero_()
            maps = whole
        return self._whole_tiles(maps).reshape(OUTPUT_TILE**2, -1)

    def put_output_tiles(self, tiles: Tensor, maps: Tensor) -> None:
        """Fill maps, float [n h w c], with their tiles, float [16 n*tiles*c], and drop pixels beyond the border."""
        is_whole = not (self.height % OUTPUT_TILE or self.width % OUTPUT_TILE)
        whole = maps if is_whole else self._empty(maps, border=0)
        target = self._whole_tiles(whole)
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

    def _whole_tiles(self, whole: Tensor) -> Tensor:
        """Return the tiles of maps, float [n 4*rows 4*columns c], as a view, float [4 4 n rows columns c]."""
        shape = (len(whole), self.rows, OUTPUT_TILE, self.columns, OUTPUT_TILE, whole.shape[-1])
        return whole.view(shape).permute(2, 4, 0, 1, 3, 5)
