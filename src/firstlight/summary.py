"""The layer table: for every layer of a network its output size, receptive field, jump, parameters and MACs."""

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
NUM_TEXT_COLUMNS = 3  # the others are numbers, aligned right
CAPTION = "In brackets: the receptive field over the path that sees least."
STYLES: dict[str, Any] = {"title_style": "bold", "title_justify": "left", "caption_justify": "left"}


@dataclass(frozen=True)
class LayerRow:
    """One row of the table; each pair is (rows, columns).

    Args:
        name: inside its stage; empty for a stage that is one layer.
        kind: class of the module with its window, or the operation.
        output: shape of its output for one image: (c, h, w), or (f,).
        receptive_field_px: what one unit can see, over all paths.
        narrowest_px: what it sees over the path that sees least.
        jump_px: distance in the image between two neighbouring units.
        parameters: its own; shared ones count where they are first used.
        macs: multiply-accumulates for one image.
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
    """The layers of one stage, in order."""

    name: str
    layers: tuple[LayerRow, ...]


@dataclass(frozen=True)
class Summary:
    """The layer table of a network and its totals.

    Args:
        network: class of the network.
        size_px: side of the square image.
        stages: in the order in which an image passes them.
        parameters: of the whole network, whether or not a layer that ran owns them.
        macs: multiply-accumulates of convolutions and linear layers for one image, forward.
    """

    network: str
    size_px: int
    stages: tuple[StageRows, ...]
    parameters: int
    macs: int

    @property
    def title(self) -> str:
        """What the table is about, in one line."""
        return (
            f"{self.network}, one {self.size_px}x{self.size_px} image: "
            f"{self.parameters:,} parameters, {self.macs:,} multiply-accumulates"
        )

    def as_table(self) -> Table:
        """Return the table for a terminal of 80 columns or more: stages as headings, their layers below."""
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
        """Return the table in Markdown, title first."""
        marks = ("---" if place < NUM_TEXT_COLUMNS else "---:" for place in range(len(HEADINGS)))
        rows = [cells for stage in self.stages for cells in _cells(stage)]
        total = ("**total**", *[""] * 6, f"**{self.parameters:,}**", f"**{self.macs:,}**")
        lines = [HEADINGS, tuple(marks), *rows, total]
        return f"{self.title}\n\n" + "".join(f"| {' | '.join(line)} |\n" for line in lines)

    def as_json(self) -> str:
        """Return everything as JSON, field names as here."""
        return json.dumps(asdict(self), indent=2)


def summarize(network: nn.Module, size_px: int) -> Summary:
    """Return the layer table of a network.

    MACs are counted for convolutions and matrix products, as is usual: one multiplication and one addition are
    one MAC; pooling, activations, normalization and sums are not counted.

    Args:
        network: takes RGB images in [0, 1]; left as it was.
        size_px: side of the square image.

    Raises:
        UsageError: the network cannot take images of this size.
        FirstlightError: an operation in it cannot be followed (see `firstlight.receptive_field.trace`).

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
    """Say what a layer slides over the map: "3x3", "3x3 stride 2", "3x3 dilation 2"."""
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
    """Return the cells of a stage's rows as text; the stage is named on the first."""
    return [
        (
            stage.name if place == 0 else "",
            row.name,
            row.kind,
            _by(row.output),
            _size(row.receptive_field_px),
            _size(row.narrowest_px),
            _size(row.jump_px),
            f"{row.parameters:,}" if row.parameters else "",
            f"{row.macs:,}" if row.macs else "",
        )
        for place, row in enumerate(stage.layers)
    ]


def _by(sizes: Sequence[int]) -> str:
    return "x".join(str(size) for size in sizes)


def _size(pair: tuple[int, int]) -> str:
    """Write one number where both axes agree."""
    return str(pair[0]) if pair[0] == pair[1] else _by(pair)
