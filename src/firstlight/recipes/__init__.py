"""The recipes by name. Each is a function that returns a complete, frozen `Recipe`. Imports no PyTorch."""

from __future__ import annotations

from collections.abc import Callable

from firstlight.errors import UsageError
from firstlight.recipes.adam24 import adam24
from firstlight.recipes.airbench94 import airbench94
from firstlight.recipes.config import Recipe
from firstlight.recipes.demo import demo
from firstlight.recipes.fast94 import fast94
from firstlight.recipes.page24 import page24
from firstlight.recipes.small import small

RECIPES: dict[str, Callable[[], Recipe]] = {
    "demo": demo,
    "small": small,
    "adam24": adam24,
    "page24": page24,
    "airbench94": airbench94,
    "fast94": fast94,
}


def get_recipe(name: str) -> Recipe:
    """Return the recipe of that name.

    Raises:
        UsageError: No recipe has that name.

    >>> get_recipe("adam24").max_epochs
    24
    """
    if name not in RECIPES:
        raise UsageError(f"no recipe is called {name!r}: choose one of {', '.join(RECIPES)}")
    return RECIPES[name]()


def has_own_data(recipe: Recipe) -> bool:
    """Return whether a recipe names the data set of the built-in recipe of its name, so that the user named none.

    >>> from dataclasses import replace
    >>> has_own_data(get_recipe("demo")), has_own_data(replace(get_recipe("demo"), data="watermark"))
    (True, False)
    """
    return recipe.name in RECIPES and RECIPES[recipe.name]().data == recipe.data


__all__ = ["RECIPES", "get_recipe", "has_own_data"]
