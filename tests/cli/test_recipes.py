"""`firstlight recipes`: its output, and the packages that it must not load."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from firstlight.cli import main
from firstlight.recipes import RECIPES
from firstlight.recipes.config import Recipe
from firstlight.recipes.published import published_results

HEAVY = ("torch", "numpy", "pytorch_lightning", "jsonargparse", "jaxtyping", "PIL", "matplotlib", "rich", "yaml")


def loaded_by(command: str) -> set[str]:
    """Return the heavy modules that a command loads in a new process."""
    code = f"import sys; from firstlight.cli import main; main({command.split()!r}); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=True)
    return set(done.stdout.splitlines()[-1].split())


@pytest.mark.parametrize("command", ["recipes", "recipes --format json"])
def test_recipes_are_listed_without_pytorch_or_any_other_large_package(command: str) -> None:
    assert not loaded_by(command) & set(HEAVY)


def test_the_summary_of_a_recipe_does_not_load_lightning() -> None:
    assert not loaded_by("summary --recipe demo --format json") & {"pytorch_lightning", "lightning_fabric"}


def test_the_table_shows_each_recipe_with_its_published_results(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recipes"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    results = published_results()
    for name, make in RECIPES.items():
        row = next(line for line in lines if line.split()[:1] == [name])
        assert row.split()[1:3] == [make().data, str(make().max_epochs)]
        assert any(line.split(maxsplit=1) == [name, (make.__doc__ or "").splitlines()[0]] for line in lines)
        if name in results:
            assert str(results[name].test_acc) in row
            assert row.split()[-2:] == [str(results[name].n), str(results[name].minutes)]
            assert any(line.split(maxsplit=1) == [name, results[name].hardware] for line in lines)


def test_json_holds_the_same_numbers_unrounded(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recipes", "--format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [each["name"] for each in found] == list(RECIPES)
    by_name = {each["name"]: each["results"] for each in found}
    for name, results in published_results().items():
        assert by_name[name]["test_acc"]["mean"] == results.test_acc.mean
        assert by_name[name]["n"] == results.n


def test_a_users_recipe_is_listed_without_results(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def quick() -> Recipe:
        """Two epochs."""
        return Recipe(name="quick", max_epochs=2)

    monkeypatch.setitem(RECIPES, "quick", quick)
    assert main(["recipes"]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines() if line.startswith("quick")]
    assert rows == [["quick", "cifar10", "2", "-", "-", "-", "-"], ["quick", "Two", "epochs."]]


def test_an_unknown_option_is_refused_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recipes", "--format", "xml"]) == 2
    error = capsys.readouterr().err
    assert "invalid choice: 'xml'" in error
    assert error.count("\n") == 1
