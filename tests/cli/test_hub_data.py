"""Hugging Face data sets from the command line: training, tests, and errors of one line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from firstlight.cli import main
from firstlight.recipes.config import Recipe
from reference.parquet_sets import write_set
from reference.photo_folders import make_folder

pytest.importorskip("datasets")
QUICK = ["--network.width", "4", "--max_epochs", "1", "--logger", "none"]


def test_a_run_on_a_data_set_is_tested_from_anywhere_and_on_other_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FIRSTLIGHT_CACHE", str(tmp_path / "cache"))
    write_set(Path("set"), {"train": 30, "test": 9})
    assert main(["fit", "--recipe", "demo", "--data", "hf:./set", "--label_column", "label", *QUICK]) == 0
    run = tmp_path / "logs/demo/version_0"
    recipe = Recipe.load(run / "recipe.yaml")
    assert (recipe.data, recipe.image_column, recipe.label_column) == (f"hf:{tmp_path}/set", "", "label")
    described = json.loads((run / "environment.json").read_text())["data"]
    assert (described["name"], described["place"]) == ("set", f"hf:{tmp_path}/set")
    assert main(["show", "samples", "--data", "hf:./set"]) == 0
    assert main(["audit", "hf:./set", "--without_training", "--out", "audit"]) == 0
    assert main(["test", "--data", "hf:./set"]) == 0
    assert not (run / "tests").exists()
    make_folder(Path("photos"), {"red": 3, "green": 3, "blue": 3})
    assert main(["test", "--data_dir", "photos"]) == 0
    write_set(Path("other"), {"test": 6}, ("blue", "red", "green"))
    assert main(["test", "--data", "hf:./other"]) == 0
    assert sorted(path.name for path in (run / "tests").iterdir()) == ["other", "photos"]
    monkeypatch.chdir("/")
    capsys.readouterr()
    assert main(["test", str(run)]) == 0
    assert "warning" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("fit --data hf:./missing", "no such folder"),
        ("show samples --data hf:nobody/nothing", "Connect to the network"),
        ("audit hf:./set --image_column label", "the column 'label' holds no images"),
        ("show samples --label_column label", "image_column and label_column are for Hugging Face data sets"),
    ],
)
def test_errors_are_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str, says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    write_set(Path("set"), {"train": 6})
    assert main(command.split()) == 2
    error = capsys.readouterr().err
    assert says in error
    assert len(error.splitlines()) == 1
    assert not Path("logs").exists()
