"""`firstlight summary`: print the layer table of a network, and draw its diagram."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from firstlight.cli.network_options import add_network_options, import_from_command_line, network_from
from firstlight.cli.parser import Parser, figure_path
from firstlight.errors import UsageError
from firstlight.networks.network_config import NetworkConfig, default_network_config

if TYPE_CHECKING:
    from torch import nn

DESCRIPTION = "Print the output size, receptive field, parameters and multiply-accumulates (MACs) of every layer."


def run(arguments: Sequence[str]) -> None:
    """Print the table; draw the diagram if a file is named for it."""
    early = _parse_early_options(arguments)
    import_from_command_line(early.network, None)
    options = build_parser(_config(early.recipe, early.network)).parse(arguments)
    target = figure_path("--diagram", options.diagram) if options.diagram else None
    if options.image_size < 8 or options.num_classes < 1:
        raise UsageError("--image_size must be 8 or more, and --num_classes 1 or more")
    from firstlight.summary import summarize

    if options.run is not None:
        from firstlight.runs.run import load

        loaded = load(options.run)
        network: nn.Module = loaded.network
        size_px = loaded.size_px[0]
    else:
        network, size_px = _untrained(network_from(options.network), options.num_classes), options.image_size
    summary = summarize(network, size_px)
    if options.format == "table":
        from rich.console import Console

        Console().print(summary.as_table())
    else:
        print(summary.as_markdown() if options.format == "markdown" else summary.as_json())
    if target:
        from firstlight.diagram import draw_network
        from firstlight.files import atomic

        with atomic(target) as temporary:
            draw_network(network, size_px).savefig(temporary, format=target.suffix.removeprefix("."))


def build_parser(config: NetworkConfig) -> Parser:
    """Return the parser, with the options of the network."""
    parser = Parser("summary", DESCRIPTION)
    parser.add_argument("--recipe", type=str, default="adam24", help="recipe whose untrained network is described")
    parser.add_argument("--run", type=str, default=None, help="run folder whose network is described instead")
    parser.add_argument("--image_size", type=int, default=32, help="side of the images in pixels, with --recipe")
    parser.add_argument("--num_classes", type=int, default=10, help="number of classes, with --recipe")
    parser.add_argument("--format", default="table", choices=["table", "markdown", "json"], help="output format")
    parser.add_argument(
        "--diagram", type=str, default=None, help="draw the network into this file (.svg, .png or .pdf)"
    )
    add_network_options(parser, config)
    return parser


def _parse_early_options(arguments: Sequence[str]) -> argparse.Namespace:
    """Parse the recipe and the network, which decide which other options the parser has."""
    early = argparse.ArgumentParser(add_help=False, exit_on_error=False, allow_abbrev=False)
    early.add_argument("--recipe", default="adam24")
    early.add_argument("--network.name", dest="network")
    found = argparse.Namespace(recipe="adam24", network=None)
    with suppress(argparse.ArgumentError):  # the main parser reports the error
        early.parse_known_args(list(arguments), found)
    return found


def _config(recipe: str, network: str | None) -> NetworkConfig:
    from firstlight.recipes import get_recipe

    config = get_recipe(recipe).network
    return config if network in (None, config.name) else default_network_config(network)


def _untrained(config: NetworkConfig, num_classes: int) -> nn.Module:
    from firstlight.networks import build_network

    config.check()
    return build_network(num_classes, config)
