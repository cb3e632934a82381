"""Tells results of today's recipes from those of earlier versions, and lists the differences."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from firstlight.recipes import get_recipe
from firstlight.recipes.config import Recipe, from_dict
from rendering.cells import Row


def recipe_of(row: Row) -> Recipe:
    """Return the recipe that a result was measured with."""
    return from_dict(Recipe, row["recipe"])


def differences(measured: Recipe, ignored: Iterable[str] = ()) -> dict[str, tuple[object, object]]:
    """Return the fields in which a recipe differs from today's of the same name: measured and today's value.

    Args:
        measured: Recipe that a result was measured with.
        ignored: Dotted names of fields that may differ. The seed never counts.
    """
    then, now = measured.flat(), get_recipe(measured.name).flat()
    compared = then.keys() | now.keys()
    changed = {name for name in compared if then.get(name) != now.get(name)} - {"seed", *ignored}
    return {name: (then.get(name), now.get(name)) for name in now if name in changed}


def is_current(row: Row) -> bool:
    """Whether a result was measured with a recipe as it is today, whatever the seed."""
    recipe = recipe_of(row)
    return replace(recipe, seed=0) == get_recipe(recipe.name)
