"""The layer table: output size, receptive field, jump, parameters and MACs of every layer of a network."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text
from torch import nn

from firstlight.receptive_field import Field, Layer, trace

HEADINGS = ("stage", "layer", "kind", "output", "receptive field", "narrowest path", "jump", "parameters", "MACs")
NUM_TEXT_COLUMNS = 3  # the other columns hold numbers and are aligned right
CAPTION = "A number in brackets is the smallest receptive field over any single path."
STYLES: dict[str, Any] = {"title_style": "bold", "title_justify": "left", "caption_justify": "left"}


@dataclass(frozen=True)
class LayerRow:
    """One row of the table. Each pair is (vertical, horizontal), in pixels of the image.

    Args:
        name: Name of the layer within its stage; empty if the stage is one layer.
        kind: Class of the module with its window, or the operation.
        output: Shape of the output for one image: (c, h, w), or (f,).
        receptive_field_px: Receptive field of one unit, over all paths through the network.
        narrowest_px: Smallest receptive field of one unit over any single path.
        jump_px: Distance in the image between two neighbouring units.
        parameters: Number of parameters of the layer. Shared parameters count at their first use.
        macs: Number of multiply-accumulates for one image.
    """

    name: str
    kind: str
    output: tuple[int, ...]
    receptive_field_px: tuple[int, int]
    narrowest_px: tuple[int, int]
    jump_px: tuple[int, int]
    parameters: int
    macs: int


@dataclass(frozen=True)
class StageRows:
    """The layers of one stage, in forward order."""

    name: str
    layers: tuple[LayerRow, ...]


@dataclass(frozen=True)
class Summary:
    """The layer table of a network, with its totals.

    Args:
        network: Class name of the network.
        size_px: Side of the square image in pixels.
        stages: Stages in forward order.
        parameters: Number of parameters of the network, including parameters that belong to no layer of the table.
        macs: Number of multiply-accumulates of convolutions and linear layers in a forward pass of one image.
    """

    network: str
    size_px: int
    stages: tuple[StageRows, ...]
    parameters: int
    macs: int

    @property
    def title(self) -> str:
        """Network, image size and totals in one line."""
        return (
            f"{self.network}, one {self.size_px}x{self.size_px} image: "
            f"{self.parameters:,} parameters, {self.macs:,} multiply-accumulates"
        )

    def as_table(self) -> Table:
        """Return the table for a terminal of at least 80 columns, with the stages as headings."""
        table = Table(title=self.title, caption=CAPTION, box=box.SIMPLE_HEAD, padding=0, **STYLES)
        for heading in ("layer", "kind", "output", "receptive\nfield, px", "jump\npx", "parameters", "MACs"):
            is_text = heading in ("layer", "kind")
            table.add_column(
                heading, justify="left" if is_text else "right", no_wrap=heading != "kind", overflow="fold"
            )
        for stage in self.stages:
            if stage.layers[0].name:
                table.add_row(stage.name, style="bold")
            for row, cells in zip(stage.layers, _cells(stage), strict=True):
                name = Text(f"  {row.name}") if row.name else Text(stage.name, style="bold")
                kind, output, field, narrowest, *numbers = cells[2:]
                field += f" ({narrowest})" if narrowest != field else ""
                table.add_row(name, kind, output, field, *numbers)
        table.add_section()
        table.add_row("total", *[""] * 4, f"{self.parameters:,}", f"{self.macs:,}", style="bold")
        return table

    def as_markdown(self) -> str:
        """Return title and table in Markdown."""
        marks = ("---" if column < NUM_TEXT_COLUMNS else "---:" for column in range(len(HEADINGS)))
        rows = [cells for stage in self.stages for cells in _cells(stage)]
        total = ("**total**", *[""] * 6, f"**{self.parameters:,}**", f"**{self.macs:,}**")
        lines = [HEADINGS, tuple(marks), *rows, total]
        return f"{self.title}\n\n" + "".join(f"| {' | '.join(line)} |\n" for line in lines)

    def as_json(self) -> str:
        """Return all fields as JSON."""
        return json.dumps(asdict(self), indent=2)


def summarize(network: nn.Module, size_px: int) -> Summary:
    """Compute the layer table of a network.

    One multiplication with one addition is one multiply-accumulate (MAC). Only convolutions and matrix products count;
    pooling, activations, normalization and sums do not.

    Args:
        network: Network that takes RGB images in [0, 1]. It is not changed.
        size_px: Side of the square image in pixels.

    Raises:
        UsageError: The network cannot take images of this size.
        FirstlightError: The network has an operation that `firstlight.receptive_field.trace` does not know.

    >>> summary = summarize(nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.Flatten(), nn.Linear(8 * 16, 2)), 4)
    >>> summary.parameters, summary.macs == 4 * 4 * 8 * 27 + 8 * 16 * 2
    (482, True)
    """
    layers = trace(network, size_px)
    stages = tuple(
        StageRows(stage, tuple(_row(layer) for layer in inside))
        for stage, inside in groupby(layers, key=lambda layer: layer.stage)
    )
    parameters = sum(parameter.numel() for parameter in network.parameters())
    return Summary(type(network).__name__, size_px, stages, parameters, sum(layer.macs for layer in layers))


def _row(layer: Layer) -> LayerRow:
    fields = (layer.rows, layer.columns)
    return LayerRow(
        name=layer.name.partition(".")[2],
        kind=f"{layer.kind} {_window(layer)}".rstrip(),
        output=layer.output,
        receptive_field_px=_both(fields, "receptive_field_px"),
        narrowest_px=_both(fields, "narrowest_px"),
        jump_px=_both(fields, "jump_px"),
        parameters=layer.parameters,
        macs=layer.macs,
    )


def _both(fields: tuple[Field, Field], name: str) -> tuple[int, int]:
    rows, columns = (getattr(field, name) for field in fields)
    return rows, columns


def _window(layer: Layer) -> str:
    """Describe the window of a convolution or pooling: "3x3", "3x3 stride 2", "3x3 dilation 2"."""
    if layer.role not in ("convolution", "pool") or not layer.window:
        return ""
    text = _by(layer.window.kernel)
    usual = (1, 1) if layer.role == "convolution" else layer.window.kernel
    if layer.window.stride != usual:
        text += f" stride {_size(layer.window.stride)}"
    if layer.window.dilation != (1, 1):
        text += f" dilation {_size(layer.window.dilation)}"
    return text


def _cells(stage: StageRows) -> list[tuple[str, ...]]:
    """Return the cells of a stage's rows as text; only the first row names the stage."""
    return [
        (
            stage.name if index == 0 else "",
            row.name,
            row.kind,
            _by(row.output),
            _size(row.receptive_field_px),
            _size(row.narrowest_px),
            _size(row.jump_px),
            f"{row.parameters:,}" if row.parameters else "",
            f"{row.macs:,}" if row.macs else "",
        )
        for index, row in enumerate(stage.layers)
    ]


def _by(sizes: Sequence[int]) -> str:
    return "x".join(str(size) for size in sizes)


def _size(pair: tuple[int, int]) -> str:
    """Return one number if both axes agree, else both."""
    return str(pair[0]) if pair[0] == pair[1] else _by(pair)
