"""`firstlight recipes`: list the recipes."""

from __future__ import annotations

from collections.abc import Sequence

from firstlight.cli.parser import Parser


def run(arguments: Sequence[str]) -> None:
    """Print a table: what each recipe is for."""
    Parser("recipes", "List the recipes: what each is for.").parse(arguments)
    from rich.console import Console
    from rich.table import Table

    from firstlight.recipes import RECIPES

    table = Table()
    for column in ("recipe", "data", "epochs", "what it is"):
        table.add_column(column)
    for name, make in RECIPES.items():
        recipe = make()
        table.add_row(name, recipe.data, str(recipe.max_epochs), (make.__doc__ or "").split("\n")[0])
    Console().print(table)
