"""Early stopping and the best epoch: which weights a run keeps, and that a resumed run keeps the same ones."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch

from firstlight.errors import UsageError
from firstlight.recipes import RECIPES
from firstlight.recipes.config import OptimizerConfig, Recipe
from firstlight.runs.epoch_metrics import read_metrics
from firstlight.runs.run import Run
from firstlight.training.exercise import CustomResNet
from firstlight.training.fit import fit
from firstlight.training.resume import resume
from firstlight.training.trainer import Trainer
from reference.interrupted import NEVER, PLAIN, RECIPE, CutAt, begin, resume_interrupted
from reference.same_run import differences

UNSTEADY = replace(RECIPE, optimizer=OptimizerConfig("adam", 0.05), max_epochs=8, keep="best")
OPTIONS: dict[str, Any] = {"logger": "none", "checkpoints": NEVER} | PLAIN


class Record(pl.Callback):
    """Keeps a copy of the validated weights of every epoch."""

    def __init__(self) -> None:
        self.weights: list[dict[str, torch.Tensor]] = []

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            self.weights.append({name: each.clone() for name, each in pl_module.network.state_dict().items()})


def rows(folder: Path, metric: str) -> list[float]:
    return [value for value in read_metrics(folder / "metrics.csv")[metric] if value is not None]


@pytest.mark.parametrize("averaging", [0.0, 0.9])
@pytest.mark.parametrize("metric", ["val_loss", "val_acc"])
def test_the_weights_of_the_best_validation_are_kept(tiny: str, tmp_path: Path, metric: Any, averaging: float) -> None:
    record = Record()
    recipe = replace(UNSTEADY, judge_by=metric, averaging=averaging, max_epochs=5 if averaging else 6)
    run = fit(recipe, logs_dir=tmp_path, callbacks=[record], **OPTIONS)
    values = rows(run.path, metric)
    best = values.index(min(values) if metric == "val_loss" else max(values))
    assert best < len(values) - 1, "the last epoch would prove nothing"
    found = run.network.state_dict()
    assert all(torch.equal(found[name], each) for name, each in record.weights[best].items())
    assert run.results["kept_epoch"] == best + 1
    assert run.results[metric] == pytest.approx(values[best])
    assert differences(fit(replace(recipe, keep="last"), logs_dir=tmp_path / "b", **OPTIONS).path, run.path)


def test_the_training_stops_after_epochs_without_gain(
    tiny: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "firstlight")
    recipe = replace(UNSTEADY, stop_after=2, keep="last", max_epochs=30)
    values = rows(fit(recipe, logs_dir=tmp_path, **OPTIONS).path, "val_loss")
    assert len(values) < 30
    last_gain = max(epoch for epoch, value in enumerate(values) if value < min([float("inf"), *values[:epoch]]))
    assert len(values) == last_gain + 1 + 2
    says = f"stopped after epoch {len(values)}: val_loss has not improved on {values[last_gain]:.4f}"
    assert f"{says} since epoch {last_gain + 1}" in caplog.messages


@pytest.mark.parametrize("averaging", [0.0, 0.9])
def test_a_resumed_run_keeps_the_same_weights(tiny: str, tmp_path: Path, averaging: float) -> None:
    recipe = replace(UNSTEADY, stop_after=2, averaging=averaging)
    expected = fit(recipe, logs_dir=tmp_path / "whole", **OPTIONS).path
    folder = begin(tmp_path, CutAt("on_train_batch_end", 7), recipe, logger="none")
    for cut in (CutAt("on_validation_end", 1), CutAt("on_train_epoch_start", 1), CutAt("on_test_start", 1)):
        resume_interrupted(folder, cut)
    resume(folder)
    assert differences(folder, expected) == []


def test_the_five_lines_have_the_same(tiny: str, tmp_path: Path) -> None:
    names = ("data", "num_val", "network", "augmentation", "optimizer", "batch_size", "keep", "judge_by")
    recipe = replace(UNSTEADY, judge_by="val_acc")
    model = CustomResNet(num_classes=4, **{name: getattr(recipe, name) for name in names})
    trainer = Trainer(max_epochs=4, default_root_dir=tmp_path, **PLAIN)
    trainer.fit(model)
    trainer.test(model, verbose=False)
    (path,) = (tmp_path / "logs" / "exercise").iterdir()
    values = rows(path, "val_acc")
    assert Run(path).results["kept_epoch"] == values.index(max(values)) + 1
    assert Run(path).results["val_acc"] == pytest.approx(max(values))


def test_without_validation_images_there_is_nothing_to_judge(tiny: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="stop_after and keep=best need validation images: set num_val"):
        fit(replace(UNSTEADY, num_val=0), logs_dir=tmp_path, **OPTIONS)
    assert not list(tmp_path.rglob("recipe.yaml"))
    with pytest.raises(UsageError, match="stop_after must be 0 to"):
        Recipe(stop_after=-1)


def test_it_is_off_in_all_recipes() -> None:
    for make in RECIPES.values():
        assert (make().stop_after, make().keep) == (0, "last")
