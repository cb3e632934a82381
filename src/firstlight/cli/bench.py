"""`firstlight bench`: measure this machine, and estimate how long each recipe takes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict

from firstlight.cli.parser import Parser
from firstlight.errors import UsageError

DESCRIPTION = "Time matrix products and a few steps of each recipe, for about a minute, and estimate whole trainings."


def run(arguments: Sequence[str]) -> None:
    """Measure, and print a table or JSON."""
    parser = Parser("bench", DESCRIPTION)
    parser.add_argument("--recipes", type=str, nargs="+", default=None, help="recipes to measure (by default all)")
    parser.add_argument("--num_steps", type=int, default=3, help="number of steps to measure, after two warm-up steps")
    parser.add_argument("--format", choices=["table", "json"], default="table")
    options = parser.parse(arguments)
    if options.num_steps < 1:
        raise UsageError(f"--num_steps must be 1 or more, not {options.num_steps}")
    from firstlight.cli.quiet import quiet_lightning
    from firstlight.recipes import RECIPES, get_recipe
    from firstlight.runs.environment import describe_environment
    from firstlight.training.bench import estimate

    recipes = [get_recipe(name) for name in options.recipes or RECIPES]
    quiet_lightning()
    rates = _matmul_rates()
    if options.format == "table":
        _print_machine(describe_environment()["hardware"], rates)
    estimates = {recipe.name: estimate(recipe, options.num_steps) for recipe in recipes}
    if options.format == "json":
        found = {"matmul_flop_per_s": rates, "recipes": {name: asdict(each) for name, each in estimates.items()}}
        print(json.dumps(describe_environment() | found, indent=2))
        return
    from rich.console import Console
    from rich.table import Table

    from firstlight.durations import duration
    from firstlight.native.libraries import kernel_report, report_line

    table = Table()
    for column in ("recipe", "data", "epochs", "images/s", "training", "test"):
        table.add_column(column, justify="left" if column in ("recipe", "data") else "right")
    for recipe in recipes:
        each = estimates[recipe.name]
        cells = (f"{each.images_per_s:,.0f}", f"about {duration(each.train_s)}", duration(each.test_s))
        table.add_row(recipe.name, recipe.data, str(recipe.max_epochs), *cells)
    Console().print(table)
    print(report_line(kernel_report()) or "native kernels: none of these recipes has a layer that is large enough")


def _matmul_rates() -> dict[str, float]:
    import torch

    from firstlight.training.bench import matmul_rate

    device = "cuda" if torch.cuda.is_available() else "cpu"
    return {str(dtype).removeprefix("torch."): matmul_rate(dtype, device) for dtype in (torch.float32, torch.bfloat16)}


def _print_machine(hardware: dict[str, object], rates: dict[str, float]) -> None:
    where = hardware["gpu"] or f"{hardware['cpu']}, {hardware['threads']} threads"
    products = ", ".join(f"{rate / 1e9:,.0f} GFLOP/s in {name}" for name, rate in rates.items())
    print(f"{where}: matrix products at {products}", flush=True)
