"""A training calibrates its network on its validation images, and predictions use the calibration."""

from __future__ import annotations

import csv
import io
import math
from pathlib import Path

import pytest
import torch

from firstlight.cli import main
from firstlight.data.images import split_stratified
from firstlight.evaluation.calibration import calibrate
from firstlight.export.build_bundle import build_bundle
from firstlight.networks import ResNet9Config
from firstlight.recipes.config import Recipe
from firstlight.training.fit import fit
from reference.tiny import tiny_split

SILENT = {"logger": "none", "enable_progress_bar": False, "accelerator": "cpu"}


def test_predictions_and_the_bundle_are_calibrated_on_the_validation_images(tiny: str, tmp_path: Path) -> None:
    recipe = Recipe(name="t", data=tiny, num_val=32, network=ResNet9Config(width=4), max_epochs=1, batch_size=32)
    run = fit(recipe, logs_dir=tmp_path, **SILENT)
    val = split_stratified(tiny_split("train"), 32, recipe.seed)[1]
    with torch.no_grad():
        expected = calibrate(run.network(val.images / 255), val.labels)
    assert run.temperature == pytest.approx(expected.temperature, rel=1e-3)
    assert run.novelty_threshold == pytest.approx(expected.novelty_threshold, rel=1e-3)
    assert run.calibration is not None
    assert run.calibration.num_images == 32
    image = val.images[0]
    with torch.no_grad():
        shares = (run.network(image[None] / 255)[0] / run.temperature).softmax(dim=0)
    assert run.predict(image).probability == pytest.approx(float(shares.max()), abs=1e-6)
    bundle = build_bundle(run, tmp_path / "bundle")
    assert (bundle.temperature, bundle.novelty_threshold) == (run.temperature, run.novelty_threshold)
    assert bundle.predict(image).probability == pytest.approx(run.predict(image).probability, abs=2e-3)
    assert bundle.predict(image).is_novel is run.predict(image).is_novel is not None


def test_explain_lists_calibrated_probabilities(tiny: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = Recipe(name="t", data=tiny, num_val=32, network=ResNet9Config(width=4), max_epochs=1, batch_size=32)
    run = fit(recipe, logs_dir=tmp_path, **SILENT)
    assert run.temperature != 1
    main(["explain", str(run.path), "--list"])
    for row in csv.DictReader(io.StringIO(capsys.readouterr().out)):
        shares = (run.predictions.logits[int(row["index"])] / run.temperature).softmax(dim=0)
        assert float(row["probability"]) == pytest.approx(float(shares.max()), abs=1e-6)
        assert float(row["loss"]) == pytest.approx(-math.log(float(row["true_probability"])), rel=1e-3)


def test_a_run_without_validation_images_is_not_calibrated(tiny: str, tmp_path: Path) -> None:
    recipe = Recipe(name="t", data=tiny, num_val=0, network=ResNet9Config(width=4), max_epochs=1, batch_size=32)
    run = fit(recipe, logs_dir=tmp_path, limit_train_batches=1, **SILENT)
    assert (run.temperature, run.calibration, run.novelty_threshold) == (1.0, None, None)
    assert run.predict(tiny_split("test").images[0]).is_novel is None
