"""The learning-rate range test: its curve, its suggestion, and what is left in the folder."""

from __future__ import annotations

import csv
import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pytorch_lightning.tuner import Tuner

import firstlight
from firstlight.errors import UsageError
from firstlight.networks import ResNet9Config
from firstlight.recipes.config import MuonConfig, Recipe
from firstlight.training.find_lr import MAX_LR, MIN_LR, find_lr
from firstlight.training.trainer import SILENT

RECIPE = Recipe(name="small", data="tiny", num_val=32, network=ResNet9Config(width=4), max_epochs=1, batch_size=32)


def test_the_suggestion_is_where_the_loss_falls_fastest(tiny: str, tmp_path: Path) -> None:
    found = find_lr(RECIPE, tmp_path, tmp_path / "logs", num_steps=40, accelerator="cpu")
    rates, losses = np.array(found.learning_rates), np.array(found.losses)
    ratios = rates[1:] / rates[:-1]
    assert np.allclose(ratios, ratios[0], rtol=1e-3), "the learning rate grows by the same factor in every step"
    assert MIN_LR <= rates[0] < rates[-1] <= MAX_LR
    assert found.suggestion == pytest.approx(rates[:-1][np.gradient(losses[:-1], rates[:-1]).argmin()])
    assert found.of_recipe == RECIPE.optimizer.learning_rate
    assert found.path == tmp_path / "logs" / "small" / "learning_rates" / "version_0"
    assert sorted(path.name for path in found.path.iterdir()) == ["learning_rates.csv", "learning_rates.png"]
    with (found.path / "learning_rates.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["train_loss"]) for row in rows] == list(found.losses)


def test_two_learning_rates_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="muon has two learning rates"):
        find_lr(replace(RECIPE, optimizer=MuonConfig()), tmp_path, tmp_path / "logs")


def test_the_tuner_scales_the_batch_size_of_the_recipe(tiny: str) -> None:
    model = firstlight.CustomResNet(num_classes=4, data=tiny, num_val=32, batch_size=8, network=ResNet9Config(width=2))
    trainer = firstlight.Trainer(max_epochs=1, accelerator="cpu", **SILENT)
    found = Tuner(trainer).scale_batch_size(model, mode="power", steps_per_trial=1, init_val=8, max_trials=3)
    assert found in [8 * 2**power for power in range(5)]
    assert model.recipe.batch_size == found
    batch = next(itertools.islice(model.train_dataloader(), 1))
    assert len(batch.labels) == min(found, 160)
