"""`firstlight recipes`: list the recipes with their published results. Imports no PyTorch."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from firstlight.cli.plain_parser import PlainParser
from firstlight.recipes import RECIPES
from firstlight.recipes.config import Recipe
from firstlight.recipes.published import PublishedResults, published_results

DESCRIPTION = "List the recipes: purpose, data, epochs, and the published test accuracy with minutes and hardware."
HEADINGS = ("recipe", "data", "epochs", "single view", "tta", "n", "minutes")
NUMBERS = frozenset(("epochs", "n", "minutes"))  # aligned right
UNKNOWN = "-"
FOOTNOTE = """\
Test accuracy: mean ± standard deviation over n seeds. Test-time augmentation
(tta) averages the logits over several views of each image. Minutes: duration
of one training on the machine above, for {timed}
including the test."""


def run(arguments: Sequence[str]) -> None:
    """Print the recipes and their published results."""
    parser = PlainParser("recipes", DESCRIPTION)
    parser.add_argument("--format", default="table", choices=["table", "json"], help="format of the list")
    options = parser.parse_args(list(arguments))
    results = published_results()
    recipes = {name: make() for name, make in RECIPES.items()}
    if options.format == "json":
        print(json.dumps([_as_json(recipe, results.get(name)) for name, recipe in recipes.items()], indent=2))
        return
    rows = [HEADINGS, *(_row(recipe, results.get(name)) for name, recipe in recipes.items())]
    print("\n".join(aligned(rows)))
    print()
    print("\n".join(aligned([("recipe", "purpose"), *((name, purpose(name)) for name in recipes)])))
    print()
    measured = [(name, results[name].hardware) for name in recipes if name in results]
    print("\n".join(aligned([("recipe", "measured on"), *measured])))
    timed_with_test = [name for name in recipes if name in results and results[name].minutes_of != "training"]
    print(f"\n{FOOTNOTE.format(timed=' and '.join(timed_with_test) or 'none')}")


def purpose(name: str) -> str:
    """Return what a recipe is for: the first line of its docstring."""
    return (RECIPES[name].__doc__ or "").split("\n")[0]


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the rows as lines of text with aligned columns; columns of numbers are aligned right.

    >>> aligned([("recipe", "n"), ("demo", "12")])
    ['recipe   n', 'demo    12']
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    is_right = [heading in NUMBERS for heading in rows[0]]
    lines = []
    for row in rows:
        cells = zip(row, widths, is_right, strict=True)
        lines.append(
            "  ".join(cell.rjust(width) if right else cell.ljust(width) for cell, width, right in cells).rstrip()
        )
    return lines


def _row(recipe: Recipe, results: PublishedResults | None) -> tuple[str, ...]:
    start = (recipe.name, recipe.data, str(recipe.max_epochs))
    if results is None:
        return (*start, *[UNKNOWN] * 4)
    tta = UNKNOWN if results.test_acc_tta is None else str(results.test_acc_tta)
    return (*start, str(results.test_acc), tta, str(results.n), f"{results.minutes:.1f}")


def _as_json(recipe: Recipe, results: PublishedResults | None) -> dict[str, Any]:
    content = {
        "name": recipe.name,
        "purpose": purpose(recipe.name),
        "data": recipe.data,
        "max_epochs": recipe.max_epochs,
    }
    return content | {"results": None if results is None else asdict(results)}
