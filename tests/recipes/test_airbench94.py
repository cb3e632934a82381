"""airbench94 sets the values of its source explicitly, independent of defaults."""

from __future__ import annotations

import ast
import inspect
from dataclasses import fields
from types import ModuleType

import pytest

from firstlight.recipes import RECIPES, get_recipe
from firstlight.recipes.config import MuonConfig


def test_airbench94_has_the_rates_of_its_source_for_the_mean_of_the_loss() -> None:
    optimizer = get_recipe("airbench94").optimizer
    assert isinstance(optimizer, MuonConfig)
    assert (optimizer.learning_rate, optimizer.momentum, optimizer.sgd_momentum) == (0.24, 0.6, 0.85)
    assert optimizer.head_rate == pytest.approx(0.67 * 2000)
    assert optimizer.bias_rate == pytest.approx(0.053 * 2000)


@pytest.mark.parametrize("name", ["airbench94", "fast94", "page24"])
def test_every_field_of_muon_is_set_in_the_recipes_file(name: str) -> None:
    module = inspect.getmodule(RECIPES[name])
    assert isinstance(module, ModuleType)
    calls = [node for node in ast.walk(ast.parse(inspect.getsource(module))) if isinstance(node, ast.Call)]
    (muon,) = [call for call in calls if isinstance(call.func, ast.Name) and call.func.id == "MuonConfig"]
    assert {keyword.arg for keyword in muon.keywords} == {field.name for field in fields(MuonConfig)} - {"name"}
