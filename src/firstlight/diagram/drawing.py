"""Drawing of a network diagram with matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby, pairwise

from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.patches import Circle, FancyArrowPatch, Polygon, Rectangle
from matplotlib.path import Path
from torch import nn

from firstlight.diagram.blocks import (
    JOIN_RADIUS,
    LINE,
    ROWS,
    STAGE_SIZE,
    TEXT_SIZE,
    Arc,
    Block,
    make_blocks,
    route_arcs,
    row_heights,
    set_columns,
    text_width,
)
from firstlight.plots.figure import Figure
from firstlight.receptive_field import Layer, trace

COLOURS = {"image": "#bdbdbd", "convolution": "#6f9fd8", "pool": "#ee9a5f", "linear": "#80b980"}
INK, PALE_INK, BANDS = "#222222", "#666666", ("#f5f5f2", "#e9eae6")
TITLE_SIZE = 12.0  # points
CORNER_RADIUS, ARC_OFFSET = 0.1, 0.05  # radius of an arc's corners and its distance from a circle, in inches
SIGNS = {"add": "+", "mul": "\N{MULTIPLICATION SIGN}", "sub": "\N{MINUS SIGN}", "cat": "\N{PARALLEL TO}"}


def draw_network(network: nn.Module, size_px: int) -> Figure:
    """Draw the diagram of a network, from the trace of one image.

    The height of a block grows with the square root of the side of its map, and its width with the square root of its
    number of channels. Pools are thin, and circles join paths. The texts below each block name the layer, the pointwise
    layers that follow it, its output and its receptive field in pixels.

    Args:
        network: Network that takes RGB images in [0, 1]; its state is restored.
        size_px: Side of the square image in pixels.

    Returns:
        A figure of the size that the diagram needs, to be saved as svg, pdf or png.

    Raises:
        UsageError: The network cannot take images of this size.
        FirstlightError: An operation is not supported (see `firstlight.receptive_field.trace`).

    >>> figure = draw_network(nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.AdaptiveMaxPool2d(1)), 32)
    >>> [text.get_text() for text in figure.axes[0].texts if "Sequential" in text.get_text()]
    ['Sequential: 224 parameters, 221,184 multiply-accumulates for one 32x32 image']
    """
    layers = trace(network, size_px)
    blocks = make_blocks(layers)
    title = _title(network, layers, size_px)
    left = 0.2 + text_width(ROWS, TEXT_SIZE)
    right = set_columns(blocks, left)
    arcs = route_arcs(blocks)
    table_top = -max(block.top for block in blocks) - 0.12
    bottom = table_top - sum(row_heights(blocks))
    top = max([block.top for block in blocks] + [arc.height for arc in arcs]) + 0.35
    width = max(right, left + text_width([title], TITLE_SIZE)) + 0.2
    figure = Figure(figsize=(width, top - bottom + 0.6), layout=None)
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0), xlim=(0, width), ylim=(bottom - 0.12, top + 0.48))
    axes.axis("off")
    axes.text(left, top + 0.14, title, fontsize=TITLE_SIZE, color=INK, va="bottom")
    _draw_stages(axes, blocks, bottom, top)
    _draw_table(axes, blocks, table_top, left)
    _draw_blocks(axes, blocks)
    _draw_connections(axes, blocks, arcs)
    return figure


def _draw_stages(axes: Axes, blocks: Sequence[Block], bottom: float, top: float) -> None:
    """Draw a band behind each stage, with the stage's name at the top."""
    for index, (stage, group) in enumerate(groupby(blocks, key=lambda block: block.layer.stage)):
        members = list(group)
        left, right = members[0].x - members[0].column / 2, members[-1].x + members[-1].column / 2
        axes.add_patch(Rectangle((left, bottom), right - left, top - bottom, fc=BANDS[index % 2], ec="none"))
        centre = (left + right) / 2
        axes.text(centre, top - 0.08, stage, fontsize=STAGE_SIZE, color=INK, weight="bold", ha="center", va="top")


def _draw_table(axes: Axes, blocks: Sequence[Block], top: float, left: float) -> None:
    """Write a table below the blocks: a row for each of ROWS, with its name at the left."""
    y = top
    for row, height in enumerate(row_heights(blocks)):
        colour = PALE_INK if ROWS[row] == "then" else INK
        cells = [(left - 0.1, ROWS[row], PALE_INK, "right")]
        cells += [(block.x, block.texts[row], colour, "center") for block in blocks]
        for x, text, text_colour, align in cells:
            for index, line in enumerate(text.split("\n")):  # separate texts, so that lines of all cells align
                axes.text(x, y - (index + 0.8) * LINE, line, fontsize=TEXT_SIZE, color=text_colour, ha=align)
        y -= height


def _draw_blocks(axes: Axes, blocks: Sequence[Block]) -> None:
    """Draw each join as a circle and each other block as a box, seen from slightly above and from the right."""
    for block in blocks:
        if block.layer.role == "join":
            sign = SIGNS.get(block.layer.kind.lower(), "\N{BULLET}")
            axes.add_patch(Circle((block.x, 0.0), JOIN_RADIUS, fc="white", ec=INK, lw=1.1, zorder=3))
            axes.text(block.x, 0.0, sign, fontsize=11, color=INK, ha="center", va="center_baseline", zorder=4)
        else:
            _draw_box(axes, block)


def _draw_box(axes: Axes, block: Block) -> None:
    left, low = block.x - block.half_width, -block.top
    right, high = left + block.width, low + block.height
    x, y = block.back_offset
    front = [(left, low), (right, low), (right, high), (left, high)]
    roof = [(left, high), (right, high), (right + x, high + y), (left + x, high + y)]
    side = [(right, low), (right + x, low + y), (right + x, high + y), (right, high)]
    for corners, lightness in ((front, 0.0), (roof, 0.45), (side, -0.18)):
        colour = _shade(COLOURS[block.layer.role], lightness)
        axes.add_patch(Polygon(corners, fc=colour, ec=INK, lw=0.6, joinstyle="round", zorder=2))


def _draw_connections(axes: Axes, blocks: Sequence[Block], arcs: Sequence[Arc]) -> None:
    """Draw an arrow for each connection: a straight one to the next block, an arc over other blocks."""
    straight = [
        Path([(before.x + before.half_width, 0.0), (after.x - after.half_width, 0.0)])
        for index, (before, after) in enumerate(pairwise(blocks))
        if index in after.sources
    ]
    for path in straight + [_arc_path(blocks[arc.start], blocks[arc.end], arc.height) for arc in arcs]:
        axes.add_patch(FancyArrowPatch(path=path, arrowstyle="-|>", mutation_scale=8, color=INK, lw=1.0, zorder=5))


def _arc_path(start: Block, end: Block, height: float) -> Path:
    """Return a path from the roof of one block up, across and down to the other, with rounded corners.

    The path leaves a circle at its side, because another arc may end at its top.
    """
    is_join = start.layer.role == "join"
    left, right = start.x + (JOIN_RADIUS + ARC_OFFSET if is_join else 0.0), end.x
    points = [(left - ARC_OFFSET, 0.0), (left, 0.0)] if is_join else [(left, start.top - start.back_offset[1] / 2)]
    codes = [Path.MOVETO, Path.LINETO][: len(points)]
    points += [(left, height - CORNER_RADIUS), (left, height), (left + CORNER_RADIUS, height)]
    points += [(right - CORNER_RADIUS, height), (right, height), (right, height - CORNER_RADIUS), (right, end.top)]
    return Path(points, codes + [Path.LINETO, Path.CURVE3, Path.CURVE3] * 2 + [Path.LINETO])


def _title(network: nn.Module, layers: Sequence[Layer], size_px: int) -> str:
    """Return the title: the network's class, parameters and multiply-accumulates."""
    parameters, macs = sum(p.numel() for p in network.parameters()), sum(layer.macs for layer in layers)
    numbers = f"{parameters:,} parameters, {macs:,} multiply-accumulates"
    return f"{type(network).__name__}: {numbers} for one {size_px}x{size_px} image"


def _shade(colour: str, lightness: float) -> tuple[float, float, float]:
    """Mix a colour with white (lightness > 0) or black (lightness < 0)."""
    red, green, blue = (
        part + (1 - part) * lightness if lightness > 0 else part * (1 + lightness) for part in to_rgb(colour)
    )
    return red, green, blue
