"""Measurements of a model as rows of text: tiles, the table of other images, and the layer table."""

from __future__ import annotations

from dataclasses import dataclass

from firstlight.export.bundle import Bundle
from firstlight.summary import LayerRow, StageRows, Summary

NUM_VIEWS = {
    "flip": "with the mirror image",
    "flip_shift": "six views averaged",
    "flip_star": "up to 34 views averaged",
}
LAYER_HEAD = ["layer", "kind", "output", "receptive field, px", "jump, px", "parameters", "MACs"]
NUM_LAYER_TEXT_COLUMNS = 2  # the other columns hold numbers
NOVELTY_HEAD = ["images", "marked as unlike"]


@dataclass(frozen=True)
class Tile:
    """One measurement: its value, what it is, and how it was measured."""

    value: str
    what: str
    how: str


def tiles(bundle: Bundle) -> list[Tile]:
    """Return the main measurements of a model."""
    test, calibration = bundle.measured["test"], bundle.measured["calibration"]
    parameters = sum(each.numel() for each in bundle.network.parameters())
    num = f"{test['num_images']:,} test images"
    before = f"{calibration['error_before']:.1%} before calibration"
    return [
        Tile(f"{test['single_view']:.2%}", "test accuracy", f"one view, {num}"),
        Tile(f"{test['averaged']:.2%}", "test accuracy", f"{NUM_VIEWS[test['views']]}, {num}"),
        Tile(f"{calibration['error_after']:.1%}", "calibration error", before),
        Tile(f"{parameters:,}", "parameters", f"recipe {bundle.config.recipe.get('name', 'unknown')}"),
    ]


def novelty_rows(bundle: Bundle) -> list[list[str]]:
    """Return the share of each kind of image that is marked as unlike the training data."""
    novelty = bundle.measured["novelty"]
    first = f"test images, {bundle.measured['test']['num_images']:,} (false alarms)"
    kinds = [
        [f"{kind}, {novelty['num_images'][kind]:,}", f"{share:.1%}"] for kind, share in novelty["detected"].items()
    ]
    return [[first, f"{novelty['false_alarms']:.1%}"], *kinds]


def layer_rows(summary: Summary) -> list[list[str]]:
    """Return the rows of the layer table, the last with the totals; a layer's name starts with that of its stage."""
    rows = [_cells(stage, row) for stage in summary.stages for row in stage.layers]
    return [*rows, ["total", "", "", "", "", f"{summary.parameters:,}", f"{summary.macs:,}"]]


def _cells(stage: StageRows, row: LayerRow) -> list[str]:
    by = "\N{MULTIPLICATION SIGN}".join
    field, jump = ((str(a) if a == b else by((str(a), str(b)))) for a, b in (row.receptive_field_px, row.jump_px))
    return [
        f"{stage.name}.{row.name}" if row.name else stage.name,
        row.kind,
        by(map(str, row.output)),
        field,
        jump,
        f"{row.parameters:,}" if row.parameters else "",
        f"{row.macs:,}" if row.macs else "",
    ]
