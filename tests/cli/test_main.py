"""The command line: help, exit statuses, and errors in one line."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from firstlight.cli import VERBS, main
from firstlight.export import bundle
from firstlight.networks import ResNet9Config
from firstlight.recipes.config import Recipe

HEAVY = ("torch", "pytorch_lightning", "matplotlib", "jsonargparse", "rich", "numpy")


def python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)


def test_importing_firstlight_loads_nothing_heavy() -> None:
    loaded = json.loads(python("import firstlight, json, sys; print(json.dumps(list(sys.modules)))").stdout)
    assert not set(HEAVY) & set(loaded)


def test_help_loads_nothing_heavy_and_names_every_verb() -> None:
    code = "import sys; from firstlight.cli import main; main(['--help']); print([m for m in %r if m in sys.modules])"
    printed = python(code % (HEAVY,)).stdout
    assert printed.splitlines()[-1] == "[]"
    assert all(f"\n  {verb} " in printed for verb in VERBS)


def test_every_public_name_can_be_imported() -> None:
    import firstlight

    assert all(getattr(firstlight, name) is not None for name in firstlight.__all__)
    with pytest.raises(AttributeError, match="nothing_here"):
        _ = firstlight.nothing_here


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_a_help(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main([verb, "--help"])
    assert exit_.value.code == 0
    assert f"usage: firstlight {verb}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["tarin"], "no verb 'tarin'"),
        (["fit", "--recipe", "nix"], "choose one of demo, small, adam24"),
        (["fit", "--max_epochs", "0"], "max_epochs must be 1 to 1,000,000, not 0"),
        (["fit", "--max_epochs", "many"], "max_epochs"),
        (["fit", "--augmentation.flip", "sideways"], "augmentation.flip"),
        (["fit", "--augmentation.crop_px", "-1"], "crop_px"),
        (["fit", "--label_smoothing", "1.5"], "label_smoothing"),
        (["fit", "--optimizer.learning_rate", "-1"], "learning_rate"),
        (["fit", "--nonsense", "3"], "--nonsense"),
        (["fit", "--max_epoch", "3"], "unrecognized arguments: --max_epoch 3: did you mean --max_epochs?"),
        (["fit", "--trainer.max_step", "3"], "did you mean --trainer.max_steps?"),
        (["fit", "--trainer.profiler"], "needs a value"),
        (["fit", "--data", "imagenet"], "no data set is called 'imagenet'"),
        (["fit", "--data_dir", "/nowhere"], "--data drawn"),
        (["fit", "--data", "drawn", "--logger", "neptune"], "closed down"),
        (["fit", "--config", "/nowhere.yaml"], "/nowhere.yaml"),
        (["test", "/nowhere"], "firstlight fit"),
        (["predict", "/nowhere.png", "--logs_dir", "/nowhere"], "firstlight demo"),
        (["predict", "a.png", "--top", "0"], "--top"),
    ],
)
def test_errors_of_the_user_are_one_line_and_status_2(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(bundle, "BUNDLED_PATH", tmp_path / "none")
    assert main(arguments) == 2
    printed = capsys.readouterr()
    assert says in printed.err
    assert printed.err.count("\n") == 1
    assert printed.out == ""
    assert not list(tmp_path.glob("logs/*/*/*.json")), "a run folder was begun although nothing could be run"


def test_fit_and_test_print_the_numbers_of_the_run(
    tiny: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = f"--data tiny --num_val 32 --network.width 4 --max_epochs 2 --batch_size 32 --logs_dir {tmp_path}"
    assert main(["fit", *arguments.split(), "--trainer.check_val_every_n_epoch", "2"]) == 0
    printed = capsys.readouterr()
    run = tmp_path / "adam24" / "version_0"
    results = json.loads((run / "results.json").read_text())
    assert f"{results['test_acc']:.2%}" in printed.out
    assert str(run) in printed.out
    assert yaml.safe_load((run / "recipe.yaml").read_text())["network"] == {"width": 4, "name": "resnet9"}
    epochs = list(csv.DictReader((run / "metrics.csv").open()))
    assert [row["val_acc"] != "" for row in epochs] == [False, True], "--trainer.KEY did not reach Lightning"
    assert main(["test", str(run)]) == 0
    assert f"test_acc {results['test_acc']:.4f}" in capsys.readouterr().out


def test_a_printed_configuration_can_be_run_again(
    tiny: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = f"--recipe demo --data tiny --num_val 32 --network.width 4 --max_epochs 1 --logs_dir {tmp_path}"
    with pytest.raises(SystemExit):
        main(["fit", *arguments.split(), "--print_config"])
    config = tmp_path / "config.yaml"
    config.write_text(capsys.readouterr().out)
    assert main(["fit", "--config", str(config), "--seed", "5"]) == 0
    recipe = Recipe.load(tmp_path / "demo" / "version_0" / "recipe.yaml")
    assert (recipe.name, recipe.data, recipe.network.width, recipe.seed) == ("demo", "tiny", 4, 5)


def test_the_recipe_of_a_run_is_a_configuration(
    tiny: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    recipe = Recipe(name="mine", data="tiny", num_val=32, network=ResNet9Config(width=4), max_epochs=1, seed=3)
    recipe.save(tmp_path / "recipe.yaml")
    again = ["fit", "--config", "~/recipe.yaml", "--logs_dir=~/logs", "--batch_size", "32", "--logger", "none"]
    assert main(again) == 0
    assert Recipe.load(tmp_path / "logs" / "mine" / "version_0" / "recipe.yaml") == replace(recipe, batch_size=32)
    assert main([*again, "--recipe", "demo"]) == 2
    assert "recipe.yaml holds the recipe mine" in capsys.readouterr().err


def test_fast_dev_run_writes_nothing(
    tiny: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["fit", "--data", "tiny", "--num_val", "32", "--network.width", "4", "--fast_dev_run"]) == 0
    assert "no file was written" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


def test_messages_have_no_terminal_codes_and_a_bounded_length(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", "a\x1b[2J" + "b" * 100_000]) == 2
    said = capsys.readouterr().err
    assert "a\ufffd[2Jbbb" in said
    assert len(said) < 2100
