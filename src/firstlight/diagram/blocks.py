"""Layout of a network diagram: sizes and positions of blocks, heights of arcs.

All lengths are in inches. The blocks are centred vertically on the line y = 0.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby

from firstlight.receptive_field import Layer

STAGE_SIZE, TEXT_SIZE = 9.5, 8.0  # font sizes in points
CHARACTER, BOLD = 0.60 / 72, 1.15  # approximate width of a character per point of font size, and factor for bold text
TALLEST, THICKEST, THIN = 1.45, 0.36, 0.09  # height of the tallest block, width of the widest block and of a pool
BACK_OFFSET = (0.17, 0.14)  # offset of a block's back face to the right and upward, for each inch of its height
JOIN_RADIUS, ARC_GAP, ARROW = 0.12, 0.17, 0.22  # radius of a join's circle, gap between arcs, length of an arrow
TEXT_GAP, LINE, ROW_GAP = 0.10, 0.15, 0.06  # gap beside a text, height of a line of text, gap between two rows
SHORT_NAMES = {
    "input": "image",
    "BatchNorm2d": "BN",
    "Linear": "linear",
    **dict.fromkeys(("Conv2d", "convolution"), "conv"),
    **dict.fromkeys(("MaxPool2d", "AdaptiveMaxPool2d", "max_pool2d", "adaptive_max_pool2d", "amax"), "max-pool"),
    **dict.fromkeys(("AvgPool2d", "AdaptiveAvgPool2d", "avg_pool2d", "adaptive_avg_pool2d", "mean"), "mean-pool"),
}
ROWS = ("layer", "then", "channels", "map", "receptive\nfield, px")  # "then": the pointwise layers that follow


@dataclass(eq=False)
class Block:
    """One block of the diagram: a layer, and the pointwise layers that follow it.

    Args:
        layer: Layer that the block shows.
        sources: Indices of the blocks whose outputs the layer takes.
        width: Width of the front face; it grows with the number of channels.
        height: Height of the front face; it grows with the size of the map.
        x: Horizontal centre of the block's column.
        column: Width of the block's column.
        pointwise: Short names of the pointwise layers that follow the layer.
    """

    layer: Layer
    sources: tuple[int, ...]
    width: float = 2 * JOIN_RADIUS
    height: float = 2 * JOIN_RADIUS
    x: float = 0.0
    column: float = 0.0
    pointwise: list[str] = field(default_factory=list)

    @property
    def back_offset(self) -> tuple[float, float]:
        """Offset of the back face from the front face, to the right and upward."""
        if self.layer.role == "join":
            return 0.0, 0.0
        return BACK_OFFSET[0] * self.height, BACK_OFFSET[1] * self.height

    @property
    def top(self) -> float:
        """Height of the block's highest point above y = 0."""
        return (self.height + self.back_offset[1]) / 2

    @property
    def half_width(self) -> float:
        """Half of the block's total width, including the back face."""
        return (self.width + self.back_offset[0]) / 2

    @property
    def texts(self) -> tuple[str, ...]:
        """Texts below the block, one for each of ROWS."""
        layer, kind = self.layer, SHORT_NAMES.get(self.layer.kind, self.layer.kind)
        if layer.window and layer.role in ("convolution", "pool"):
            kind += f"\n{layer.window.kernel[0]}x{layer.window.kernel[1]}"
            if layer.window.stride != ((1, 1) if layer.role == "convolution" else layer.window.kernel):
                kind += f", /{_format_pair(layer.window.stride)}"
            if layer.window.dilation != (1, 1):
                kind += f"\ndilated {_format_pair(layer.window.dilation)}"
        receptive_field = _format_pair((layer.rows.receptive_field_px, layer.columns.receptive_field_px))
        channels, *sides = (str(size) for size in layer.output)
        return kind, "\n".join(self.pointwise), channels, "x".join(sides), receptive_field


@dataclass(frozen=True)
class Arc:
    """A connection that skips blocks: from the top of one block, over those between, to the top of another."""

    start: int
    end: int
    height: float


def make_blocks(layers: Sequence[Layer]) -> list[Block]:
    """Return the blocks of a diagram with their sizes; a pointwise layer is added to the block that it follows.

    Args:
        layers: Layers from `firstlight.receptive_field.trace`.

    >>> from torch import nn
    >>> from firstlight.receptive_field import trace
    >>> network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.MaxPool2d(2))
    >>> [(block.layer.kind, block.pointwise, block.sources) for block in make_blocks(trace(network, 32))]
    [('input', [], ()), ('Conv2d', ['ReLU'], (0,)), ('MaxPool2d', [], (1,))]
    """
    blocks: list[Block] = []
    block_of: list[int] = []  # index of the block of each layer
    for layer in layers:
        sources = tuple(dict.fromkeys(block_of[source] for source in layer.sources))
        if layer.role == "pointwise":
            blocks[sources[0]].pointwise.append(SHORT_NAMES.get(layer.kind, layer.kind))
            block_of.append(sources[0])
        else:
            block_of.append(len(blocks))
            blocks.append(Block(layer, sources))
    _set_sizes(blocks)
    return blocks


def route_arcs(blocks: Sequence[Block]) -> list[Arc]:
    """Return an arc for each connection between blocks that are not neighbours; no two arcs share a line.

    Short arcs are routed first, so that longer ones run above them.
    """
    skips = [(source, end) for end, block in enumerate(blocks) for source in block.sources if source != end - 1]
    arcs: list[Arc] = []
    for start, end in sorted(skips, key=lambda skip: skip[1] - skip[0]):
        below = [block.top for block in blocks[start : end + 1]]
        below += [arc.height for arc in arcs if arc.start < end and start < arc.end]
        arcs.append(Arc(start, end, max(below) + ARC_GAP))
    return arcs


def set_columns(blocks: Sequence[Block], left: float) -> float:
    """Set each block's column, wide enough for its texts and its stage's name; return the last column's right edge."""
    x = left
    for stage, group in groupby(blocks, key=lambda block: block.layer.stage):
        members = list(group)
        for block in members:
            block.column = max(2 * block.half_width + ARROW, text_width(block.texts, TEXT_SIZE) + TEXT_GAP)
        missing = BOLD * text_width([stage], STAGE_SIZE) + TEXT_GAP - sum(block.column for block in members)
        for block in members:
            block.column += max(0.0, missing) / len(members)
            block.x = x + block.column / 2
            x += block.column
    return x


def row_heights(blocks: Sequence[Block]) -> list[float]:
    """Return the height of each row of texts."""
    texts = [ROWS, *(block.texts for block in blocks)]
    lines = [max(text[row].count("\n") + 1 for text in texts) for row in range(len(ROWS))]
    return [count * LINE + ROW_GAP for count in lines]


def text_width(texts: Sequence[str], size: float) -> float:
    """Return the approximate width of the widest line of some texts, at a font size in points."""
    return max(len(line) for text in texts for line in text.split("\n")) * size * CHARACTER


def _set_sizes(blocks: Sequence[Block]) -> None:
    """Set each block's width and height by the square roots of its channels and of its map's side."""
    largest_px = max(max(block.layer.rows.size, block.layer.columns.size) for block in blocks)
    most_channels = max(block.layer.output[0] for block in blocks)
    for block in blocks:
        if block.layer.role != "join":
            block.height = TALLEST * math.sqrt(block.layer.rows.size / largest_px)
            thickness = THIN + (THICKEST - THIN) * math.sqrt(block.layer.output[0] / most_channels)
            block.width = THIN if block.layer.role == "pool" else thickness


def _format_pair(pair: tuple[int, int]) -> str:
    """Return `a` for (a, a), else `axb`."""
    return f"{pair[0]}" if pair[0] == pair[1] else f"{pair[0]}x{pair[1]}"
