"""A training with the decisions of an audit: the run keeps them, and every later command uses them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

import firstlight
from firstlight.cli import main
from firstlight.data.decisions import Decisions
from firstlight.errors import RunError
from firstlight.networks import ResNet9Config
from firstlight.recipes.config import Recipe
from firstlight.runs.run import Run
from firstlight.training.cross_validation import cross_validate
from firstlight.training.data_module import ImageData
from firstlight.training.fit import fit
from firstlight.training.retest import retest
from reference.tiny import tiny_split

SILENT = {"logger": "none", "enable_progress_bar": False, "accelerator": "cpu"}
LINES = ("split,id,decision", "train,3,drop", "train,5,relabel:blue", "test,0,drop", "test,1,keep")


@pytest.fixture
def recipe(tiny: str) -> Recipe:
    return Recipe(name="t", data=tiny, num_val=32, network=ResNet9Config(width=2), max_epochs=1, batch_size=64)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "mine.csv"
    path.write_text("\n".join(LINES) + "\n")
    return path


def test_a_run_keeps_its_decisions_and_is_tested_with_them(recipe: Recipe, file: Path, tmp_path: Path) -> None:
    run = fit(recipe, logs_dir=tmp_path, decisions=file, **SILENT)
    assert run.data["decisions"] == Decisions.read(file).digest
    assert (run.path / "decisions.csv").read_text() == file.read_text(encoding="utf-8")
    assert run.data["num_images"] == {"train": 192 - 1 - 32, "val": 32, "test": 82}
    assert 0 not in run.predictions.ids
    data = ImageData.of_run(run)
    data.setup("fit")
    joined = torch.cat([data.train.ids, data.val.ids])
    assert sorted(joined.tolist()) == [index for index in range(192) if index != 3]
    labels = dict(zip(joined.tolist(), torch.cat([data.train.labels, data.val.labels]).tolist(), strict=True))
    assert data.train.class_names[labels[5]] == "blue"
    file.unlink()  # the run has its own copy
    assert retest(run, enable_progress_bar=False)["test_acc"] == pytest.approx(run.results["test_acc"])
    assert len(Run(run.path).predictions) == 82


def test_changed_decisions_are_refused(recipe: Recipe, file: Path, tmp_path: Path) -> None:
    run = fit(recipe, logs_dir=tmp_path, decisions=Decisions.read(file), limit_train_batches=1, **SILENT)
    (run.path / "decisions.csv").write_text("split,id,decision\n")
    with pytest.raises(RunError, match=r"decisions\.csv: is missing or was changed"):
        ImageData.of_run(Run(run.path))


def test_folds_with_other_decisions_are_other_runs(recipe: Recipe, file: Path, tmp_path: Path) -> None:
    found = cross_validate(recipe, 2, logs_dir=tmp_path, decisions=file, **SILENT)
    assert sorted(found.predictions.ids.tolist()) == [index for index in range(192) if index != 3]
    again = cross_validate(recipe, 2, logs_dir=tmp_path, decisions=Decisions.read(file), **SILENT)
    assert (again.path, len(list((tmp_path / "t").glob("version_*")))) == (found.path, 2)
    file.write_text("split,id,decision\ntrain,4,drop\n", encoding="utf-8")
    other = cross_validate(recipe, 2, logs_dir=tmp_path, decisions=file, **SILENT)
    assert other.path != found.path
    assert 3 in other.predictions.ids
    assert 4 not in other.predictions.ids


def test_the_five_lines_take_decisions(tiny: str, file: Path, tmp_path: Path) -> None:
    model = firstlight.CustomResNet(
        data=tiny, num_classes=4, num_val=32, batch_size=64, network=ResNet9Config(width=2), decisions=file
    )
    trainer = firstlight.Trainer(max_epochs=1, default_root_dir=tmp_path, enable_progress_bar=False)
    trainer.fit(model)
    trainer.test(model, verbose=False)
    run = firstlight.load(tmp_path / "logs" / "exercise" / "version_0")
    assert run.decisions is not None
    assert run.decisions.text == file.read_text(encoding="utf-8")
    assert len(run.predictions) == 82
    loaded = firstlight.CustomResNet.load_from_checkpoint(trainer.checkpoint_callback.best_model_path)
    assert loaded.data.decisions is not None


def test_the_command_takes_a_file(tiny: str, file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    smaller = "--network.width 2 --num_val 32 --max_epochs 1 --logger none"
    options = f"fit --data {tiny} --recipe demo {smaller} --logs_dir {tmp_path}"
    status = main([*options.split(), "--decisions", str(file)])
    assert status == 0, capsys.readouterr().err
    printed = capsys.readouterr()
    assert "mine.csv: 2 images dropped, 1 relabelled, 1 kept as they are" in printed.err
    environment = json.loads((tmp_path / "demo" / "version_0" / "environment.json").read_text())
    assert environment["data"]["decisions"] == Decisions.read(file).digest
    assert main([*options.split(), "--decisions", "nowhere.csv"]) == 2
    assert "nowhere.csv: cannot be read as decisions (No such file or directory)" in capsys.readouterr().err


def test_the_made_data_are_what_the_tests_assume() -> None:
    assert (len(tiny_split("train")), len(tiny_split("test"))) == (192, 83)
