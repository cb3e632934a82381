"""Several runs of one recipe: seeds and folds, their summaries, and continuing after an interruption."""

from __future__ import annotations

import json
import logging
import statistics
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch

import firstlight
from firstlight.data.folds import Fold, split_fold
from firstlight.errors import UsageError
from firstlight.evaluation.predictions import Predictions
from firstlight.networks import ResNet9Config
from firstlight.recipes.config import Recipe
from firstlight.runs.run import Run
from firstlight.training.data_module import ImageData
from firstlight.training.repeated_fits import FitGroup
from firstlight.training.retest import load_test_images, load_train_images
from reference.made_run import say
from reference.tiny import tiny_split

QUIET: dict[str, Any] = {"enable_progress_bar": False, "accelerator": "cpu", "precision": "32-true", "logger": "none"}
RECIPE = Recipe(
    name="small", data="tiny", num_val=32, network=ResNet9Config(width=2), max_epochs=1, batch_size=64, seed=5
)


class PowerCut(BaseException):
    """Ends a training as a crash does."""


class CutTraining(pl.Callback):
    """Raises PowerCut when the training of a certain seed ends its first epoch."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        if pl_module.recipe.seed == self.seed:
            raise PowerCut


def test_seeds_are_continued_where_they_were_interrupted_and_summarized(tiny: str, tmp_path: Path) -> None:
    with pytest.raises(PowerCut):
        firstlight.fit_seeds(RECIPE, 2, tmp_path, tmp_path / "logs", callbacks=[CutTraining(6)], **QUIET)
    logs = tmp_path / "logs" / "small"
    summary = logs / "seeds_0" / "summary.json"
    assert json.loads(summary.read_text())["runs"] == {"seed 5": "version_0", "seed 6": "version_1"}
    finished = (logs / "version_0" / "results.json").stat().st_mtime_ns
    found = firstlight.fit_seeds(RECIPE, 3, tmp_path, tmp_path / "logs", **QUIET)
    assert (logs / "version_0" / "results.json").stat().st_mtime_ns == finished, "it is not trained again"
    assert "resumed" in Run(logs / "version_1").environment
    assert sorted(path.name for path in logs.iterdir()) == ["seeds_0", "version_0", "version_1", "version_2"]
    assert [run.recipe.seed for run in found.runs] == [5, 6, 7]
    accuracies = [run.results["test_acc"] for run in found.runs]
    assert found.metrics["test_acc"].mean == pytest.approx(statistics.fmean(accuracies))
    assert found.metrics["test_acc"].deviation == pytest.approx(statistics.stdev(accuracies))
    content = json.loads(summary.read_text())
    assert content["metrics"]["test_acc"]["values"] == accuracies
    assert content["metrics"]["test_acc"]["lower_bound"] == found.metrics["test_acc"].lower_bound


def test_each_training_image_is_predicted_by_the_run_that_did_not_see_it(tiny: str, tmp_path: Path) -> None:
    found = firstlight.cross_validate(RECIPE, 2, tmp_path, tmp_path / "logs", **QUIET)
    train = tiny_split("train")
    stored = Predictions.load(found.path / "oof_predictions.npz")
    assert stored.ids.equal(train.ids)
    assert stored.labels.equal(train.labels)
    for index, run in enumerate(found.runs):
        seen, held_out = split_fold(train, Fold(index, 2))
        assert run.data["digests"]["train"] == seen.digest()
        assert run.data["digests"]["test"] == tiny_split("test").digest()
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert load_train_images(run, load_test_images(run)).ids.equal(seen.ids), "for the report"
        data = ImageData.of_run(run)
        data.setup("validate")
        assert data.val.ids.equal(held_out.ids), "for a bundle that is calibrated on the run"
        plain = say(run.network, held_out)
        torch.testing.assert_close(stored.logits[held_out.ids], plain.logits, rtol=1e-4, atol=1e-5)
        assert found.accuracy.values[index] == pytest.approx(plain.accuracy)
    content = json.loads((found.path / "summary.json").read_text())
    assert content["num_images"] == [96, 96]
    assert content["oof_accuracy"] == stored.accuracy
    assert firstlight.cross_validate(RECIPE, 2, tmp_path, tmp_path / "logs", **QUIET).runs[1].path == found.runs[1].path


def test_another_recipe_or_other_data_are_another_group(tmp_path: Path) -> None:
    from firstlight.training.repeated_fits import FitGroup

    def path_of(recipe: Recipe = RECIPE, data_dir: Path = tmp_path, **options: Any) -> str:
        group = FitGroup.open("seeds", recipe, data_dir, tmp_path / "logs", options)
        group.write_summary({})
        return group.path.name

    assert path_of() == path_of() == "seeds_0"
    assert path_of(replace(RECIPE, max_epochs=2)) == "seeds_1"
    assert path_of(data_dir=tmp_path / "other") == "seeds_2"
    assert path_of(limit_train_batches=2) == "seeds_3"
    (tmp_path / "logs" / "small" / "seeds_0" / "summary.json").write_text("{")
    assert path_of() == "seeds_4", "a damaged file is left alone"


@pytest.mark.parametrize("options", [{"devices": 2}, {"num_nodes": 2}])
def test_several_devices_are_refused(tiny: str, tmp_path: Path, options: dict[str, int]) -> None:
    with pytest.raises(UsageError, match="on one device"):
        firstlight.fit_seeds(RECIPE, 2, tmp_path, tmp_path, **options)
    with pytest.raises(UsageError, match="2 or more"):
        firstlight.fit_seeds(RECIPE, 1, tmp_path, tmp_path)


@pytest.mark.parametrize(
    "content", ["{", '{"request": {}, "runs": ["version_0"]}', '{"request": {}, "runs": {"a": 3}}']
)
def test_a_damaged_summary_is_named_and_its_runs_are_not_continued(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, content: str
) -> None:
    (tmp_path / "small" / "seeds_0").mkdir(parents=True)
    (tmp_path / "small" / "seeds_0" / "summary.json").write_text(content)
    with caplog.at_level(logging.WARNING, "firstlight"):
        assert FitGroup.open("seeds", RECIPE, tmp_path, tmp_path, {}).path.name == "seeds_1"
    assert "seeds_0/summary.json" in caplog.text
    assert "its runs are not continued" in caplog.text


def test_a_summary_of_a_stranger_names_no_folder_elsewhere(tmp_path: Path) -> None:
    group = FitGroup.open("seeds", RECIPE, tmp_path, tmp_path, {})
    group._write({"seed 5": "..", "seed 6": "../../x", "seed 7": "version_3"}, {})
    assert FitGroup.open("seeds", RECIPE, tmp_path, tmp_path, {})._names == {"seed 7": "version_3"}
