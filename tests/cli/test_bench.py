from __future__ import annotations

import json

import pytest

from firstlight.cli import main
from firstlight.networks import ResNet9Config
from firstlight.recipes import RECIPES, get_recipe
from firstlight.recipes.config import Recipe
from firstlight.training import bench


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A small recipe and small matrices."""
    monkeypatch.setattr(bench, "LARGEST_MATMUL", 128)
    small = Recipe(name="demo", data="drawn", network=ResNet9Config(width=2), batch_size=16)
    monkeypatch.setitem(RECIPES, "demo", lambda: small)


def test_the_table_has_the_rates_of_the_machine_and_the_duration_of_each_recipe(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["bench", "--recipes", "demo", "--num_steps", "1"]) == 0
    printed, notices = capsys.readouterr()
    assert notices == ""  # no advice of Lightning's
    assert "GFLOP/s in float32" in printed
    assert "GFLOP/s in bfloat16" in printed
    (row,) = [line for line in printed.splitlines() if "demo" in line]
    assert "drawn" in row
    assert "about " in row


def test_json_holds_the_same_numbers_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--recipes", "demo", "--num_steps", "1", "--format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert set(found["recipes"]) == {"demo"}
    assert set(found["recipes"]["demo"]) == {"images_per_s", "train_s", "test_s"}
    assert found["hardware"]["cpu_cores"] >= 1


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        (["--recipes", "absent"], "no recipe is called 'absent'"),
        (["--num_steps", "0"], "--num_steps must be 1 or more"),
    ],
)
def test_invalid_options_are_refused_in_one_line(
    capsys: pytest.CaptureFixture[str], arguments: list[str], found: str
) -> None:
    assert main(["bench", *arguments]) == 2
    error = capsys.readouterr().err
    assert found in error
    assert len(error.splitlines()) == 1
    assert get_recipe("demo").name == "demo"
