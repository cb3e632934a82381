"""Whole sweeps on tiny images: the trials, their runs, interruptions, and what is left of the gain."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest

from firstlight.errors import DataError, RunError, TrainingError, UsageError
from firstlight.networks import ResNet9Config
from firstlight.recipes.config import Recipe
from firstlight.runs.run import Run
from firstlight.sweeps import storage, sweep, trial
from firstlight.sweeps.outcome import BEST, TABLE
from firstlight.sweeps.sweep_page import write_page

QUIET: dict[str, Any] = {"enable_progress_bar": False, "accelerator": "cpu", "precision": "32-true", "logger": "none"}
RECIPE = Recipe(name="small", data="tiny", num_val=32, network=ResNet9Config(width=2), max_epochs=1, batch_size=64)
SPACE = {"optimizer.learning_rate": {"low": 1e-4, "high": 0.1, "log": True}, "batch_size": {"choices": [32, 64]}}


class PowerCut(BaseException):
    """Ends a training as a crash does."""


def rows_of(folder: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((folder / TABLE).read_text().splitlines()))


def test_a_sweep_searches_on_validation_images_and_confirms_the_best_trials(tiny: str, tmp_path: Path) -> None:
    found = sweep.sweep(RECIPE, SPACE, 4, tmp_path, tmp_path / "logs", sampler="random", num_fresh_seeds=2, **QUIET)
    assert found.path == tmp_path / "logs" / "sweeps" / "small" / "version_0"
    rows = rows_of(found.path)
    assert [row["trial"] for row in rows] == ["0", "1", "2", "3"]
    assert float(rows[0]["optimizer.learning_rate"]) == RECIPE.optimizer.learning_rate, "the recipe itself is first"
    assert len({row["optimizer.learning_rate"] for row in rows}) == 4
    for row in rows:
        run = Run(found.path / row["runs"])
        assert run.is_finished
        assert run.results["val_acc"] == float(row["val_acc"])
        assert "test_acc" not in run.results
        assert not (run.path / "predictions.npz").exists()
        assert run.recipe.optimizer.learning_rate == pytest.approx(float(row["optimizer.learning_rate"]))
    assert sorted(each.trial.number for each in found.confirmations) == [1, 2, 3], "beside the recipe itself"
    assert found.recipe_val_acc is not None
    for each in found.confirmations:
        differences = [a - b for a, b in zip(each.val_acc.values, found.recipe_val_acc.values, strict=True)]
        assert each.gain.mean == pytest.approx(sum(differences) / 2)
    assert Recipe.load(found.path / BEST) == found.best
    assert found.best.seed == RECIPE.seed
    page = write_page(found).read_text()
    assert "http" not in page.replace("http-equiv", "")
    assert all((found.path / f"{name}.png").is_file() for name in ("history", "slices", "lines"))
    finished = {path: path.stat().st_mtime_ns for path in found.path.rglob("results.json")}
    again = sweep.resume_sweep(found.path)
    assert again == found
    assert {path: path.stat().st_mtime_ns for path in found.path.rglob("results.json")} == finished


@pytest.mark.parametrize("when", ["before the first step", "after the training"])
def test_a_trial_whose_process_has_died_is_trained_again_and_counted_once(
    tiny: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    monkeypatch.setattr(storage, "HEARTBEAT_S", 1)
    monkeypatch.setattr(storage, "GRACE_S", 1)
    original, calls = trial.fit, []

    def fails_at_second(*arguments: Any, **options: Any) -> Run:
        calls.append(1)
        if len(calls) == 2 and when == "before the first step":
            raise PowerCut
        run = original(*arguments, **options)
        if len(calls) == 2:
            raise PowerCut
        return run

    monkeypatch.setattr(trial, "fit", fails_at_second)
    options: dict[str, Any] = {"sampler": "random", "num_fresh_seeds": 0} | QUIET
    with pytest.raises(PowerCut):
        sweep.sweep(RECIPE, SPACE, 3, tmp_path, tmp_path / "logs", **options)
    folder = tmp_path / "logs" / "sweeps" / "small" / "version_0"
    found = sweep.resume_sweep(folder)
    assert len(found.trials) == 3
    assert len({each.runs for each in found.trials}) == 3
    values = [tuple(each.values.items()) for each in found.trials]
    assert len(set(values)) == 3, "the values of the interrupted trial are tried once"
    expected = 4 if when == "before the first step" else 3
    assert len(calls) == expected, "a run that was finished is not trained again"


def test_a_recipe_without_validation_images_gets_some(tiny: str, tmp_path: Path) -> None:
    from dataclasses import replace

    found = sweep.sweep(replace(RECIPE, num_val=0), SPACE, 1, tmp_path, tmp_path / "logs", num_fresh_seeds=0, **QUIET)
    assert found.recipe.num_val == 19, "a tenth of 192 training images"
    assert found.trials[0].val_acc is not None


def test_values_that_the_recipe_refuses_together_count_as_a_trial_that_ended(
    tiny: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = trial.fit

    def refuses(recipe: Recipe, *arguments: Any, **options: Any) -> Run:
        if recipe == RECIPE:
            return original(recipe, *arguments, **options)
        raise UsageError("these values do not go together")

    monkeypatch.setattr(trial, "fit", refuses)
    found = sweep.sweep(RECIPE, SPACE, 3, tmp_path, tmp_path / "logs", **(QUIET | {"num_fresh_seeds": 0}))
    assert [each.is_pruned for each in found.trials] == [False, True, True]
    assert [row["remark"] for row in rows_of(found.path)] == ["", *["these values do not go together"] * 2]
    assert found.best == found.recipe
    write_page(found)


def test_a_hopeless_training_ends_early_and_leaves_a_whole_run(
    tiny: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from optuna import Trial

    monkeypatch.setattr(Trial, "should_prune", lambda self: self.number == 1)
    recipe = Recipe(**(RECIPE.__dict__ | {"max_epochs": 3}))
    found = sweep.sweep(recipe, SPACE, 2, tmp_path, tmp_path / "logs", num_fresh_seeds=0, **QUIET)
    assert [each.is_pruned for each in found.trials] == [False, True]
    ended = Run(found.path / found.trials[1].runs[0])
    assert ended.is_finished
    assert len((ended.path / "metrics.csv").read_text().splitlines()) == 1 + 1


def test_a_trial_that_an_error_has_ended_is_trained_again(
    tiny: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def fails(*arguments: Any, **options: Any) -> Run:
        raise DataError("the data set has gone")

    with monkeypatch.context() as patched:
        patched.setattr(trial, "fit", fails)
        with pytest.raises(DataError, match="has gone"):
            sweep.sweep(RECIPE, SPACE, 2, tmp_path, tmp_path / "logs", num_fresh_seeds=0, **QUIET)
    assert "Traceback" not in capfd.readouterr().err
    found = sweep.resume_sweep(tmp_path / "logs" / "sweeps" / "small" / "version_0")
    assert len(found.trials) == 2
    assert found.trials[0].values["optimizer.learning_rate"] == RECIPE.optimizer.learning_rate
    assert [each.is_recipe for each in found.trials] == [True, False], "also with a new number"


@pytest.mark.parametrize("option", [{"precision": "12"}, {"nonsense": 1}, {"limit_train_batches": -1}])
def test_a_wrong_argument_of_the_trainer_stops_the_sweep_at_its_first_trial(
    tiny: str, tmp_path: Path, option: dict[str, Any]
) -> None:
    with pytest.raises(UsageError) as caught:
        sweep.sweep(RECIPE, SPACE, 3, tmp_path, tmp_path / "logs", num_fresh_seeds=0, **(QUIET | option))
    assert "\n" not in str(caught.value)
    folder = tmp_path / "logs" / "sweeps" / "small" / "version_0"
    assert not (folder / TABLE).exists()
    assert not list(folder.glob("small/version_*")), "no run is left"


def test_a_pruned_run_counts_as_pruned_if_its_process_dies_before_it_can_say_so(
    tiny: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from optuna import Trial

    monkeypatch.setattr(storage, "HEARTBEAT_S", 1)
    monkeypatch.setattr(storage, "GRACE_S", 1)
    monkeypatch.setattr(Trial, "should_prune", lambda self: self.number == 1)
    original, calls = trial.fit, []

    def dies_after_the_second(*arguments: Any, **options: Any) -> Run:
        calls.append(1)
        run = original(*arguments, **options)
        if len(calls) == 2:
            raise PowerCut
        return run

    monkeypatch.setattr(trial, "fit", dies_after_the_second)
    recipe = Recipe(**(RECIPE.__dict__ | {"max_epochs": 3}))
    options: dict[str, Any] = {"sampler": "random", "num_fresh_seeds": 0} | QUIET
    with pytest.raises(PowerCut):
        sweep.sweep(recipe, SPACE, 2, tmp_path, tmp_path / "logs", **options)
    found = sweep.resume_sweep(tmp_path / "logs" / "sweeps" / "small" / "version_0")
    assert [each.is_pruned for each in found.trials] == [False, True]
    assert len(calls) == 2, "the run of one epoch is neither trained again nor continued"


def test_a_full_disk_stops_the_sweep(tiny: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*arguments: Any, **options: Any) -> Run:
        raise TrainingError("the disk is full")

    monkeypatch.setattr(trial, "fit", fails)
    with pytest.raises(TrainingError, match="the disk is full"):
        sweep.sweep(RECIPE, SPACE, 2, tmp_path, tmp_path / "logs", num_fresh_seeds=0, **QUIET)


def test_wrong_numbers_and_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="trials must be 1 or more"):
        sweep.sweep(RECIPE, SPACE, 0)
    with pytest.raises(UsageError, match="fresh_seeds must be 0, or 2 or more"):
        sweep.sweep(RECIPE, SPACE, 1, num_fresh_seeds=1)
    with pytest.raises(UsageError, match="callbacks: a sweep takes only"):
        sweep.sweep(RECIPE, SPACE, 1, callbacks=[object()])
    with pytest.raises(RunError, match="holds no sweep"):
        sweep.resume_sweep(tmp_path)
    (tmp_path / "sweep.json").write_text("{}")
    with pytest.raises(RunError, match="recipe"):
        sweep.resume_sweep(tmp_path)
