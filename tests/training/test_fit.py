"""The run folder of a training: its content, its reproducibility and its use."""

from __future__ import annotations

import csv
import json
import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import firstlight
from firstlight.data.batches import Augmentation
from firstlight.errors import DataError, FirstlightError, RunError, UsageError
from firstlight.networks import ResNet9Config
from firstlight.recipes.config import OptimizerConfig, Recipe
from firstlight.runs.run import Run, latest_run
from firstlight.runs.versions import new_version
from firstlight.training.fit import dry_run, fit
from firstlight.training.precision import default_precision
from firstlight.training.retest import retest
from reference.made_run import make_run
from reference.tiny import tiny_split
from reference.unchecked import without_type_checks

QUIET = {"enable_progress_bar": False, "accelerator": "cpu"}


def tiny_recipe(**changes: object) -> Recipe:
    recipe = Recipe(
        name="tiny",
        data="tiny",
        num_val=32,
        network=ResNet9Config(width=4),
        augmentation=Augmentation(crop_px=2, flip="alternating", cutout_px=4),
        optimizer=OptimizerConfig(learning_rate=0.02, schedule="one_cycle"),
        max_epochs=6,
        batch_size=32,
    )
    return replace(recipe, **changes)


def scalars(run: Run) -> EventAccumulator:
    events = EventAccumulator(str(run.path))
    events.Reload()
    return events


def test_the_run_folder_contains_the_configuration_and_the_results(tiny: str, tmp_path: Path) -> None:
    run = fit(tiny_recipe(), logs_dir=tmp_path, **QUIET)
    assert run.path == tmp_path / "tiny" / "version_0"
    names = {path.name for path in run.path.iterdir()}
    assert names >= {
        "recipe.yaml",
        "model.safetensors",
        "metrics.csv",
        "predictions.npz",
        "environment.json",
        "results.json",
        "misclassified.png",
        "samples.png",
        "curves.png",
        "confusion.csv",
        "confusion.png",
        "reliability.png",
    }
    assert not [name for name in names if name.startswith(".")], "temporary files were left behind"
    assert "checkpoints" not in names, "a finished run needs none"
    assert Recipe.load(run.path / "recipe.yaml") == tiny_recipe()
    assert run.results["test_acc"] == pytest.approx(run.predictions.accuracy, abs=1e-7)
    assert run.results["test_acc"] > 0.9, "four colours were not learned"
    results = json.loads((run.path / "results.json").read_text())
    assert results["total_s"] > results["train_s"] > 0
    assert results["test_weighted"]["recall"] == pytest.approx(results["test_acc"])
    assert [(entry["name"], entry["support"]) for entry in results["classes"]] == [
        ("red", 21),
        ("green", 21),
        ("blue", 21),
        ("grey", 20),
    ]
    assert run.predictions.ids.tolist() == list(range(83))
    assert torch.equal(run.predictions.labels, tiny_split("test").labels)
    assert run.environment["data"]["digests"]["test"] == tiny_split("test").digest()
    assert run.environment["data"]["num_images"] == {"train": 160, "val": 32, "test": 83}
    assert run.environment["precision"] == default_precision("cpu")
    with (run.path / "metrics.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [row["epoch"] for row in rows] == ["0", "1", "2", "3", "4", "5"]
    assert float(rows[-1]["val_acc"]) == pytest.approx(run.results["val_acc"])


def test_a_loaded_run_predicts_what_the_test_predicted(tiny: str, tmp_path: Path) -> None:
    fitted = fit(tiny_recipe(max_epochs=2), logs_dir=tmp_path, logger="none", precision="32-true", **QUIET)
    run = firstlight.load(fitted.path)
    test = tiny_split("test")
    array = test.images[5].permute(1, 2, 0).numpy()
    expected = run.predictions.probabilities()[5]
    Image.fromarray(array).save(tmp_path / "photo.png")
    floats = array.astype(np.float32) / 255
    for picture in (array, test.images[5], floats, Image.fromarray(array), tmp_path / "photo.png"):
        prediction = run.predict(picture)
        assert prediction.label == test.class_names[int(expected.argmax())]
        probabilities = [prediction.probabilities[name] for name in test.class_names]
        assert probabilities == pytest.approx(expected.tolist(), abs=1e-5)
    assert run.network.training is False
    assert latest_run(tmp_path).path == run.path


def test_the_same_seed_gives_the_same_bits_and_another_seed_others(tiny: str, tmp_path: Path) -> None:
    first, again, other = (
        fit(tiny_recipe(seed=seed, max_epochs=2), logs_dir=tmp_path, logger="none", **QUIET) for seed in (1, 1, 2)
    )
    weights, same, different = (load_file(run.weights_path) for run in (first, again, other))
    assert all(torch.equal(weights[name], same[name]) for name in weights)
    assert not torch.equal(weights["head.weight"], different["head.weight"])
    assert torch.equal(first.predictions.logits, again.predictions.logits)
    metric_names = {"test_loss", "test_acc", "val_loss", "train_loss_epoch"}
    assert {n: first.results[n] for n in metric_names} == {n: again.results[n] for n in metric_names}


def test_a_second_test_gives_the_same_metrics(tiny: str, tmp_path: Path) -> None:
    run = fit(tiny_recipe(max_epochs=1), logs_dir=tmp_path, logger="none", **QUIET)
    metrics = retest(Run(run.path), **QUIET)
    assert metrics["test_acc"] == run.results["test_acc"]
    assert metrics["test_loss"] == pytest.approx(run.results["test_loss"], rel=1e-5)


def test_tensorboard_gets_exactly_the_logged_names_the_graph_hyperparameters_and_images(
    tiny: str, tmp_path: Path
) -> None:
    run = fit(tiny_recipe(max_epochs=2), logs_dir=tmp_path, histograms=True, log_every_n_steps=1, **QUIET)
    events = scalars(run)
    tags = events.Tags()
    assert set(tags["scalars"]) - {"epoch"} == {
        "train_loss_step",
        "train_loss_epoch",
        "train_acc_step",
        "train_acc_epoch",
        "val_loss",
        "val_acc",
        "test_loss",
        "test_acc",
        "lr-Adam",
        "final/val_acc",
        "final/val_loss",
        "final/test_acc",
        "final/test_loss",
    }
    assert tags["graph"]
    assert set(tags["images"]) == {"samples", "misclassified", "confusion"}
    parameters = set(dict(run.network.named_parameters()))
    assert set(tags["histograms"]) == {
        f"{kind}/network.{name}" for kind in ("weights", "gradients") for name in parameters
    }
    assert len(events.Scalars("train_loss_step")) == 10  # two epochs of 160 images in batches of 32
    assert events.Scalars("final/test_acc")[0].value == pytest.approx(run.results["test_acc"])
    hparams = events.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    assert b"optimizer.learning_rate" in hparams


def test_the_one_cycle_rate_changes_at_every_step(tiny: str, tmp_path: Path) -> None:
    run = fit(tiny_recipe(max_epochs=4), logs_dir=tmp_path, log_every_n_steps=1, **QUIET)
    rates = [event.value for event in scalars(run).Scalars("lr-Adam")]
    assert rates.index(max(rates)) == 5  # a quarter of 20 steps
    assert max(rates) == pytest.approx(0.02)
    assert rates[-1] < 0.002


def test_a_run_without_validation_images_trains_and_reports_it(tiny: str, tmp_path: Path) -> None:
    run = fit(tiny_recipe(num_val=0, max_epochs=1), logs_dir=tmp_path, logger="none", **QUIET)
    assert "val_acc" not in run.results
    assert run.environment["data"]["num_images"]["train"] == 192


def test_the_steps_option_is_stored_and_unknown_values_are_refused(tiny: str, tmp_path: Path) -> None:
    run = fit(tiny_recipe(max_epochs=1), logs_dir=tmp_path, logger="none", steps="plain", **QUIET)
    assert json.loads((run.path / "options.json").read_text())["steps"] == "plain"
    with without_type_checks(), pytest.raises(UsageError, match="plain, recorded, compiled, not 'quick'"):
        fit(tiny_recipe(max_epochs=1), logs_dir=tmp_path, logger="none", steps="quick", **QUIET)
    with without_type_checks(), pytest.raises(UsageError, match="plain, recorded, compiled, not 'quick'"):
        dry_run(tiny_recipe(max_epochs=1), steps="quick", **QUIET)


def test_compiled_steps_without_a_gpu_give_a_warning(
    tiny: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    logging.getLogger("firstlight").addHandler(caplog.handler)
    try:
        fit(tiny_recipe(max_epochs=1), logs_dir=tmp_path, logger="none", steps="compiled", **QUIET)
    finally:
        logging.getLogger("firstlight").removeHandler(caplog.handler)
    assert "on a GPU only" in caplog.text


def test_the_csv_logger_writes_into_the_run_folder(tiny: str, tmp_path: Path) -> None:
    run = fit(tiny_recipe(max_epochs=1), logs_dir=tmp_path, logger="csv", log_every_n_steps=1, **QUIET)
    header = (run.path / "csv" / "metrics.csv").read_text().splitlines()[0]
    assert {"train_loss_step", "val_acc", "test_acc"} <= set(header.split(","))
    assert not list(run.path.glob("events.out.tfevents.*"))


def test_a_dry_run_writes_nothing(tiny: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    dry_run(tiny_recipe(), **QUIET)
    assert list(tmp_path.iterdir()) == []


def test_versions_are_numbered_and_a_blocked_folder_is_one_line(tmp_path: Path) -> None:
    assert [new_version(tmp_path / "r").name for _ in range(3)] == ["version_0", "version_1", "version_2"]
    (tmp_path / "file").write_text("")
    with pytest.raises(FirstlightError, match="--logs_dir"):
        new_version(tmp_path / "file")


def test_too_large_a_validation_share_is_refused(tiny: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="num_val"):
        fit(tiny_recipe(num_val=192), logs_dir=tmp_path, **QUIET)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("damage", ["missing", "truncated", "foreign", "other width"])
def test_damaged_weights_are_refused_in_one_line(tmp_path: Path, damage: str) -> None:
    run = make_run(tmp_path)
    content = run.weights_path.read_bytes()
    if damage == "missing":
        run.weights_path.unlink()
    elif damage == "truncated":
        run.weights_path.write_bytes(content[: len(content) // 2])
    elif damage == "foreign":
        run.weights_path.write_bytes(b"\x80\x04not weights")
    else:
        values = yaml.safe_load((run.path / "recipe.yaml").read_text())
        values["network"]["width"] = 8
        (run.path / "recipe.yaml").write_text(yaml.safe_dump(values))
    with pytest.raises(RunError) as caught:
        Run(run.path).predict(np.zeros((16, 16, 3), np.uint8))
    assert "\n" not in str(caught.value)


def test_a_data_set_with_other_classes_is_refused(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    path = run.path / "recipe.yaml"
    path.write_text(path.read_text().replace("data: tiny", "data: drawn"))
    with pytest.raises(DataError, match="classes"):
        retest(Run(run.path), **QUIET)


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"recipe\.yaml"):
        firstlight.load(tmp_path)
    with pytest.raises(RunError, match="firstlight demo"):
        latest_run(tmp_path)
