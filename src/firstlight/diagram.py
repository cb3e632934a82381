"""A drawing of a network: blocks as high as their maps and as thick as their channels, arcs where paths part.

All lengths are inches on the page; y = 0 is the line on which the blocks stand centred.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby, pairwise

from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.patches import Circle, FancyArrowPatch, Polygon, Rectangle
from matplotlib.path import Path
from torch import nn

from firstlight.plots.figure import Figure
from firstlight.receptive_field import Layer, trace

COLOURS = {"image": "#bdbdbd", "convolution": "#6f9fd8", "pool": "#ee9a5f", "linear": "#80b980"}
INK, PALE_INK, BANDS = "#222222", "#666666", ("#f5f5f2", "#e9eae6")
TITLE_SIZE, STAGE_SIZE, TEXT_SIZE = 12.0, 9.5, 8.0  # points
CHARACTER, BOLD = 0.60 / 72, 1.15  # a letter is about so wide, inches for each point of its size; bold is wider
TALLEST, THICKEST, THIN = 1.45, 0.36, 0.09
LEAN = (0.17, 0.14)  # how far the back of a block lies right of and above its front, for each inch of height
JOIN_RADIUS, ARC_GAP, ARROW, TEXT_GAP, LINE, ROW_GAP = 0.12, 0.17, 0.22, 0.10, 0.15, 0.06
ROUND, BESIDE = 0.1, 0.05
SIGNS = {"add": "+", "mul": "\N{MULTIPLICATION SIGN}", "sub": "\N{MINUS SIGN}", "cat": "\N{PARALLEL TO}"}
SHORT = {
    "input": "image",
    "BatchNorm2d": "BN",
    "Linear": "linear",
    **dict.fromkeys(("Conv2d", "convolution"), "conv"),
    **dict.fromkeys(("MaxPool2d", "AdaptiveMaxPool2d", "max_pool2d", "adaptive_max_pool2d", "amax"), "max-pool"),
    **dict.fromkeys(("AvgPool2d", "AdaptiveAvgPool2d", "avg_pool2d", "adaptive_avg_pool2d", "mean"), "mean-pool"),
}
ROWS = ("layer", "then", "channels", "map", "receptive\nfield, px")


@dataclass(eq=False)
class Block:
    """One block of the drawing: a layer with a shape of its own, and what follows it point by point.

    Args:
        layer: what is drawn.
        sources: places of the blocks whose outputs it takes.
        width: of the front; it follows the channels.
        height: of the front; it follows the map.
        x: middle of its column.
        column: width of the column.
        then: pointwise layers behind it.
    """

    layer: Layer
    sources: tuple[int, ...]
    width: float = 2 * JOIN_RADIUS
    height: float = 2 * JOIN_RADIUS
    x: float = 0.0
    column: float = 0.0
    then: list[str] = field(default_factory=list)

    @property
    def lean(self) -> tuple[float, float]:
        """How far the back lies right of the front, and above it."""
        return (0.0, 0.0) if self.layer.role == "join" else (LEAN[0] * self.height, LEAN[1] * self.height)

    @property
    def top(self) -> float:
        """Height of its highest point above the line."""
        return (self.height + self.lean[1]) / 2

    @property
    def half_width(self) -> float:
        """Half of what it takes up on the line, back included."""
        return (self.width + self.lean[0]) / 2

    @property
    def texts(self) -> tuple[str, ...]:
        """What is written under it, one text for each of ROWS."""
        layer, kind = self.layer, SHORT.get(self.layer.kind, self.layer.kind)
        if layer.window and layer.role in ("convolution", "pool"):
            kind += f"\n{layer.window.kernel[0]}x{layer.window.kernel[1]}"
            if layer.window.stride != ((1, 1) if layer.role == "convolution" else layer.window.kernel):
                kind += f", /{_by(layer.window.stride)}"
            if layer.window.dilation != (1, 1):
                kind += f"\ndilated {_by(layer.window.dilation)}"
        seen = _by((layer.rows.receptive_field_px, layer.columns.receptive_field_px))
        channels, *sides = (str(size) for size in layer.output)
        return kind, "\n".join(self.then), channels, "x".join(sides), seen


@dataclass(frozen=True)
class Arc:
    """A path that skips blocks: from the top of one, over all between, to the top of another."""

    start: int
    end: int
    height: float


def draw(network: nn.Module, size_px: int) -> Figure:
    """Draw a network as it is, from one image's way through it.

    The height of a block follows the square root of the side of its map, the thickness that of its number of
    channels; pools are thin, circles join paths. Under each block stand the pointwise layers behind it, its output
    and its receptive field in pixels.

    Args:
        network: takes RGB images in [0, 1]; left as it was.
        size_px: side of the square image.

    Returns:
        A Figure as large as the drawing needs, to be saved as svg, pdf or png.

    Raises:
        UsageError: the network cannot take images of this size.
        FirstlightError: an operation in it cannot be followed (see `firstlight.receptive_field.trace`).

    >>> figure = draw(nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.AdaptiveMaxPool2d(1)), 32)
    >>> [text.get_text() for text in figure.axes[0].texts if "Sequential" in text.get_text()]
    ['Sequential: 224 parameters, 221,184 multiply-accumulates for one 32x32 image']
    """
    layers = trace(network, size_px)
    blocks = blocks_of(layers)
    title = _title(network, layers, size_px)
    left = 0.2 + _text_width(ROWS, TEXT_SIZE)
    right = _place(blocks, left)
    arcs = arcs_over(blocks)
    floor = -max(block.top for block in blocks) - 0.12
    bottom = floor - sum(_row_heights(blocks))
    ceiling = max([block.top for block in blocks] + [arc.height for arc in arcs]) + 0.35
    width = max(right, left + _text_width([title], TITLE_SIZE)) + 0.2
    figure = Figure(figsize=(width, ceiling - bottom + 0.6), layout=None)
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0), xlim=(0, width), ylim=(bottom - 0.12, ceiling + 0.48))
    axes.axis("off")
    axes.text(left, ceiling + 0.14, title, fontsize=TITLE_SIZE, color=INK, va="bottom")
    _draw_stages(axes, blocks, bottom, ceiling)
    _draw_texts(axes, blocks, floor, left)
    _draw_blocks(axes, blocks)
    _draw_wires(axes, blocks, arcs)
    return figure


def blocks_of(layers: Sequence[Layer]) -> list[Block]:
    """Return the blocks of a drawing; pointwise layers are noted at the block that they follow.

    >>> network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.MaxPool2d(2))
    >>> [(block.layer.kind, block.then, block.sources) for block in blocks_of(trace(network, 32))]
    [('input', [], ()), ('Conv2d', ['ReLU'], (0,)), ('MaxPool2d', [], (1,))]
    """
    blocks: list[Block] = []
    place_of: list[int] = []  # for each layer the block in which it lies
    for layer in layers:
        sources = tuple(dict.fromkeys(place_of[source] for source in layer.sources))
        if layer.role == "pointwise":
            blocks[sources[0]].then.append(SHORT.get(layer.kind, layer.kind))
            place_of.append(sources[0])
        else:
            place_of.append(len(blocks))
            blocks.append(Block(layer, sources))
    _size(blocks)
    return blocks


def arcs_over(blocks: Sequence[Block]) -> list[Arc]:
    """Return an arc for each connection that is not from one block to the next; no two of them run on one line.

    Short arcs lie low: one that others run over is placed before them.
    """
    skips = [(source, end) for end, block in enumerate(blocks) for source in block.sources if source != end - 1]
    arcs: list[Arc] = []
    for start, end in sorted(skips, key=lambda skip: skip[1] - skip[0]):
        below = [block.top for block in blocks[start : end + 1]]
        below += [arc.height for arc in arcs if arc.start < end and start < arc.end]
        arcs.append(Arc(start, end, max(below) + ARC_GAP))
    return arcs


def _size(blocks: Sequence[Block]) -> None:
    """Give each block its width and height."""
    largest_px = max(max(block.layer.rows.size, block.layer.columns.size) for block in blocks)
    most_channels = max(block.layer.output[0] for block in blocks)
    for block in blocks:
        if block.layer.role != "join":
            block.height = TALLEST * math.sqrt(block.layer.rows.size / largest_px)
            thickness = THIN + (THICKEST - THIN) * math.sqrt(block.layer.output[0] / most_channels)
            block.width = THIN if block.layer.role == "pool" else thickness


def _place(blocks: Sequence[Block], left: float) -> float:
    """Give each block its column on the line, wide enough for what is written in it; return where they end."""
    x = left
    for stage, group in groupby(blocks, key=lambda block: block.layer.stage):
        inside = list(group)
        for block in inside:
            block.column = max(2 * block.half_width + ARROW, _text_width(block.texts, TEXT_SIZE) + TEXT_GAP)
        missing = BOLD * _text_width([stage], STAGE_SIZE) + TEXT_GAP - sum(block.column for block in inside)
        for block in inside:
            block.column += max(0.0, missing) / len(inside)
            block.x = x + block.column / 2
            x += block.column
    return x


def _draw_stages(axes: Axes, blocks: Sequence[Block], bottom: float, top: float) -> None:
    """Lay a band behind each stage, with its name at the top."""
    for place, (stage, group) in enumerate(groupby(blocks, key=lambda block: block.layer.stage)):
        inside = list(group)
        left, right = inside[0].x - inside[0].column / 2, inside[-1].x + inside[-1].column / 2
        axes.add_patch(Rectangle((left, bottom), right - left, top - bottom, fc=BANDS[place % 2], ec="none"))
        middle = (left + right) / 2
        axes.text(middle, top - 0.08, stage, fontsize=STAGE_SIZE, color=INK, weight="bold", ha="center", va="top")


def _draw_texts(axes: Axes, blocks: Sequence[Block], floor: float, left: float) -> None:
    """Write a small table under the blocks: a row for each of ROWS, named at the left."""
    y = floor
    for row, height in enumerate(_row_heights(blocks)):
        colour = PALE_INK if ROWS[row] == "then" else INK
        cells = [(left - 0.1, ROWS[row], PALE_INK, "right")]
        cells += [(block.x, block.texts[row], colour, "center") for block in blocks]
        for x, text, colour, align in cells:
            for place, line in enumerate(text.split("\n")):  # one by one, so that all stand on common lines
                axes.text(x, y - (place + 0.8) * LINE, line, fontsize=TEXT_SIZE, color=colour, ha=align)
        y -= height


def _draw_blocks(axes: Axes, blocks: Sequence[Block]) -> None:
    """Draw boxes seen from the front, a little from the right and above; a join is a circle."""
    for block in blocks:
        if block.layer.role == "join":
            sign = SIGNS.get(block.layer.kind.lower(), "\N{BULLET}")
            axes.add_patch(Circle((block.x, 0.0), JOIN_RADIUS, fc="white", ec=INK, lw=1.1, zorder=3))
            axes.text(block.x, 0.0, sign, fontsize=11, color=INK, ha="center", va="center_baseline", zorder=4)
            continue
        left, low = block.x - block.half_width, -block.top
        right, high = left + block.width, low + block.height
        x, y = block.lean
        front = [(left, low), (right, low), (right, high), (left, high)]
        roof = [(left, high), (right, high), (right + x, high + y), (left + x, high + y)]
        side = [(right, low), (right + x, low + y), (right + x, high + y), (right, high)]
        for corners, light in ((front, 0.0), (roof, 0.45), (side, -0.18)):
            colour = _shade(COLOURS[block.layer.role], light)
            axes.add_patch(Polygon(corners, fc=colour, ec=INK, lw=0.6, joinstyle="round", zorder=2))


def _draw_wires(axes: Axes, blocks: Sequence[Block], arcs: Sequence[Arc]) -> None:
    """Draw an arrow for each connection: straight to the next block, over the others as an arc."""
    straight = [
        Path([(before.x + before.half_width, 0.0), (after.x - after.half_width, 0.0)])
        for place, (before, after) in enumerate(pairwise(blocks))
        if place in after.sources
    ]
    for path in straight + [_elbow(blocks[arc.start], blocks[arc.end], arc.height) for arc in arcs]:
        axes.add_patch(FancyArrowPatch(path=path, arrowstyle="-|>", mutation_scale=8, color=INK, lw=1.0, zorder=5))


def _elbow(start: Block, end: Block, height: float) -> Path:
    """Return a path up from the roof of one block, along, and down on the other, its corners rounded.

    From a circle, on whose top another arc may come down, it leaves beside the wire to the next block.
    """
    is_join = start.layer.role == "join"
    left, right = start.x + (JOIN_RADIUS + BESIDE if is_join else 0.0), end.x
    points = [(left - BESIDE, 0.0), (left, 0.0)] if is_join else [(left, start.top - start.lean[1] / 2)]
    codes = [Path.MOVETO, Path.LINETO][: len(points)]
    points += [(left, height - ROUND), (left, height), (left + ROUND, height)]
    points += [(right - ROUND, height), (right, height), (right, height - ROUND), (right, end.top)]
    return Path(points, codes + [Path.LINETO, Path.CURVE3, Path.CURVE3] * 2 + [Path.LINETO])


def _title(network: nn.Module, layers: Sequence[Layer], size_px: int) -> str:
    """Say what is drawn and how large it is."""
    parameters, macs = sum(p.numel() for p in network.parameters()), sum(layer.macs for layer in layers)
    numbers = f"{parameters:,} parameters, {macs:,} multiply-accumulates"
    return f"{type(network).__name__}: {numbers} for one {size_px}x{size_px} image"


def _row_heights(blocks: Sequence[Block]) -> list[float]:
    """Return how high each row of texts is."""
    texts = [ROWS, *(block.texts for block in blocks)]
    lines = [max(text[row].count("\n") + 1 for text in texts) for row in range(len(ROWS))]
    return [count * LINE + ROW_GAP for count in lines]


def _text_width(texts: Sequence[str], size: float) -> float:
    """Return about how wide the widest line of some texts is."""
    return max(len(line) for text in texts for line in text.split("\n")) * size * CHARACTER


def _shade(colour: str, light: float) -> tuple[float, float, float]:
    """Mix a colour with white (light > 0) or black (light < 0)."""
    red, green, blue = (part + (1 - part) * light if light > 0 else part * (1 + light) for part in to_rgb(colour))
    return red, green, blue


def _by(pair: tuple[int, int]) -> str:
    """Write a size, one number where both sides agree."""
    return f"{pair[0]}" if pair[0] == pair[1] else f"{pair[0]}x{pair[1]}"
