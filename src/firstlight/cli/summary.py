"""`firstlight summary`: the layer table, and the model drawn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from firstlight.cli.parser import Parser, figure_path
from firstlight.errors import UsageError

if TYPE_CHECKING:
    from torch import nn


def run(arguments: Sequence[str]) -> None:
    """Print the table, and draw the diagram if a file is named."""
    parser = Parser("summary", "The layer table: output size, receptive field, parameters and MACs of every layer.")
    parser.add_argument("--recipe", type=str, default="adam24", help="whose network, before any training")
    parser.add_argument("--run", type=str, default=None, help="a run folder instead of a recipe")
    parser.add_argument("--image_size", type=int, default=32, help="side of the images in pixels, with --recipe")
    parser.add_argument("--num_classes", type=int, default=10, help="with --recipe")
    parser.add_argument("--format", default="table", choices=["table", "markdown", "json"], help="how to print it")
    parser.add_argument("--diagram", type=str, default=None, help="draw the model into this file (.svg, .png or .pdf)")
    options = parser.parse(arguments)
    target = figure_path("--diagram", options.diagram) if options.diagram else None
    from firstlight.summary import summarize

    network, size_px = _network(options.run, options.recipe, options.num_classes, options.image_size)
    summary = summarize(network, size_px)
    if options.format == "table":
        from rich.console import Console

        Console().print(summary.as_table())
    else:
        print(summary.as_markdown() if options.format == "markdown" else summary.as_json())
    if target:
        from firstlight.diagram import draw
        from firstlight.files import atomic

        with atomic(target) as temporary:
            draw(network, size_px).savefig(temporary, format=target.suffix.removeprefix("."))


def _network(run: str | None, recipe: str, num_classes: int, side_px: int) -> tuple[nn.Module, int]:
    if run is not None:
        from firstlight.runs.run import load

        loaded = load(run)
        return loaded.network, loaded.size_px[0]
    if side_px < 8 or num_classes < 1:
        raise UsageError("--image_size must be 8 or more, --num_classes 1 or more")
    from firstlight.networks import build_network
    from firstlight.recipes import get_recipe

    return build_network(num_classes, get_recipe(recipe).network), side_px
