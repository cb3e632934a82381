"""The search space: what it accepts, what it refuses in one line, and the recipes that it makes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from firstlight.errors import UsageError
from firstlight.recipes import get_recipe
from firstlight.recipes.config import Recipe
from firstlight.sweeps.search_space import read_space, space_of

RECIPE = Recipe(name="small", label_smoothing=0.1, batch_size=64)


def test_a_file_gives_ranges_and_choices_and_a_recipe_gets_their_values(tmp_path: Path) -> None:
    path = tmp_path / "space.yaml"
    path.write_text(
        "optimizer.learning_rate: {low: 0.001, high: 0.1, log: true}\n"
        "batch_size: {low: 32, high: 96, step: 32}\n"
        "augmentation.flip: {choices: [none, random]}\n"
    )
    space = read_space(path, RECIPE)
    rate, batch, flip = space.parameters
    assert (rate.low, rate.high, rate.log, rate.kind) == (0.001, 0.1, True, float)
    assert (batch.low, batch.high, batch.step, batch.kind) == (32, 96, 32, int)
    assert flip.choices == ("none", "random")
    made = space.apply({"optimizer.learning_rate": 0.05, "batch_size": 96})
    assert (made.optimizer.learning_rate, made.batch_size, made.seed) == (0.05, 96, RECIPE.seed)
    assert space_of(dict(space.description), RECIPE, "again").parameters == space.parameters


def test_a_field_is_searched_only_beside_the_values_that_it_asks_for() -> None:
    space = space_of(
        {
            "views": {"choices": ["single", "flip"]},
            "views_margin": {"low": 0.0, "high": 1.0, "when": {"views": "flip"}},
        },
        RECIPE,
        "space",
    )
    margin = space.parameters[1]
    assert margin.is_active({"views": "flip"})
    assert not margin.is_active({"views": "single"})
    assert space.default_values() == {"views": "single"}


def test_values_of_the_recipe_outside_the_space_become_the_nearest_ones() -> None:
    space = space_of(
        {"label_smoothing": {"low": 0.2, "high": 0.3}, "batch_size": {"choices": [64, 128]}}, RECIPE, "space"
    )
    assert space.default_values() == {"label_smoothing": 0.2, "batch_size": 64}
    assert space.outside() == ["label_smoothing"]


@pytest.mark.parametrize(
    ("found", "message"),
    [
        ({}, "name at least one field"),
        ([1], "name at least one field"),
        ({"optimizer.learning_rat": {"low": 0.1, "high": 0.2}}, "did you mean optimizer.learning_rate?"),
        ({"seed": {"low": 1, "high": 2}}, "is not searched"),
        ({"network.name": {"choices": ["resnet9"]}}, "is not searched"),
        ({"label_smoothing": {"low": 0.5, "high": 1.5}}, "label_smoothing must be at least 0 and below 1"),
        ({"label_smoothing": {"low": 0.5, "high": 0.1}}, "low must be below high"),
        ({"label_smoothing": {"low": 0.0, "high": 0.1, "log": True}}, "low must be above 0"),
        ({"label_smoothing": {"low": 0.0}}, "needs low and high, or choices"),
        ({"label_smoothing": 0.1}, "needs low and high, or choices"),
        ({"batch_size": {"low": 32.5, "high": 64}}, "low must be a number of type int, not 32.5"),
        ({"batch_size": {"choices": [32, "many"]}}, "choices must be a list of values of type int"),
        ({"batch_size": {"choices": [32], "low": 1}}, "takes no low"),
        ({"views": {"choices": ["single", "all"]}}, "views must be one of"),
        ({"views": {"low": 1, "high": 2}}, "is not a number, so it needs choices"),
        ({"views_margin": {"low": 0.0, "high": 1.0, "when": {"views": "flip"}}}, "searched fields above this one"),
    ],
)
def test_what_cannot_be_searched_is_refused_with_its_name(found: Any, message: str) -> None:
    with pytest.raises(UsageError, match=r"^space\.yaml: ") as caught:
        space_of(found, RECIPE, "space.yaml")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_unreadable_files_are_named(tmp_path: Path) -> None:
    (tmp_path / "space.yaml").write_text("a: [")
    for path in (tmp_path / "space.yaml", tmp_path / "absent.yaml", tmp_path):
        with pytest.raises(UsageError, match="cannot be read as a search space"):
            read_space(path, get_recipe("demo"))
