"""Callbacks and strategies of Lightning that change weights or run in other processes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from pytorch_lightning.callbacks import ModelPruning, StochasticWeightAveraging
from pytorch_lightning.tuner import Tuner

import firstlight
from firstlight.errors import UsageError
from firstlight.networks import ResNet9Config
from firstlight.training.trainer import SILENT


def tiny_model(tiny: str, **changes: object) -> firstlight.CustomResNet:
    values: dict[str, object] = {"num_val": 32, "batch_size": 32, "network": ResNet9Config(width=4)}
    return firstlight.CustomResNet(num_classes=4, data=tiny, **(values | changes))


@pytest.mark.parametrize("averaging", [0.0, 0.9])
def test_stochastic_weight_averaging_twice(tiny: str, averaging: float) -> None:
    model = tiny_model(tiny, averaging=averaging)
    callback = StochasticWeightAveraging(swa_lrs=1e-2, swa_epoch_start=1)
    for _ in range(2):
        trainer = firstlight.Trainer(max_epochs=3, callbacks=[callback], **SILENT)
        trainer.fit(model)
        assert trainer.max_epochs == 3
        assert trainer.current_epoch == 4, "Lightning adds an epoch to update batch norm"
    (tested,) = trainer.test(model, verbose=False)
    assert torch.tensor(list(tested.values())).isfinite().all()


def test_pruning_zeroes_half_of_the_weights_and_leaves_plain_names(tiny: str) -> None:
    model = tiny_model(tiny)
    layers = [(model.network.layer2.conv, "weight"), (model.network.head, "weight")]
    pruning = ModelPruning(
        "l1_unstructured", amount=lambda epoch: 0.5 if epoch == 0 else None, parameters_to_prune=layers
    )
    trainer = firstlight.Trainer(max_epochs=2, callbacks=[pruning], **SILENT)
    trainer.fit(model)
    weights = torch.cat([layer.weight.flatten() for layer, _ in layers])
    assert float((weights == 0).float().mean()) == pytest.approx(0.5, abs=0.01)
    assert set(model.state_dict()) == set(tiny_model(tiny).state_dict())


def test_the_tuner_s_learning_rate_is_kept(tiny: str) -> None:
    model = tiny_model(tiny)
    trainer = firstlight.Trainer(max_epochs=10, **SILENT)
    finder = Tuner(trainer).lr_find(model, num_training=30, max_lr=0.1, early_stop_threshold=None)
    assert finder is not None
    found = finder.suggestion()
    assert model.recipe.optimizer.learning_rate == model.hparams["optimizer"]["learning_rate"] == found


@pytest.mark.slow
def test_forked_processes_return_weights_and_metrics(
    tiny: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # the images are saved in the current folder
    model = tiny_model(tiny)
    before = model.network.head.weight.detach().clone()
    trainer = firstlight.Trainer(max_epochs=1, accelerator="cpu", devices=2, strategy="ddp_fork", **SILENT)
    trainer.fit(model)
    assert not torch.equal(model.network.head.weight.cpu(), before)
    (tested,) = trainer.test(model, verbose=False)
    assert 0 <= tested["test_acc"] <= 1
    with pytest.raises(UsageError, match="on one device"):
        model.show_misclassified_images()
    firstlight.Trainer(devices=1, **SILENT).test(model, verbose=False)
    assert model.show_misclassified_images(count=1)._repr_png_().startswith(b"\x89PNG")


def test_forked_processes_train_and_test_one_run(tiny: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    model = tiny_model(tiny, max_epochs=1)
    options = {"accelerator": "cpu", "devices": 2, "strategy": "ddp_fork", "enable_progress_bar": False}
    trainer = firstlight.Trainer(**options)
    trainer.fit(model)
    trainer.test(model, verbose=False)
    run = firstlight.load("logs/exercise/version_0")
    assert [path.name for path in Path("logs/exercise").iterdir()] == ["version_0"]
    assert run.is_finished
    assert {"train_s", "val_acc", "test_acc"} <= run.results.keys()
    assert run.recipe.max_epochs == 1
    assert model.test_predictions is not None
    assert torch.equal(model.test_predictions.logits, run.predictions.logits)
    assert len(run.predictions) == len(model.data.test)
    assert model.show_misclassified_images(count=1)._repr_png_().startswith(b"\x89PNG")
    with pytest.raises(UsageError, match=r"cannot return their predictions: .*devices=1"):
        trainer.predict(model)


@pytest.mark.slow
def test_spawned_processes_train_and_test_one_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They import everything anew, so the data set is one that firstlight brings."""
    monkeypatch.chdir(tmp_path)
    model = firstlight.CustomResNet(
        data="drawn", num_val=9800, batch_size=50, network=ResNet9Config(width=2), max_epochs=1
    )
    before = model.network.head.weight.detach().clone()
    trainer = firstlight.Trainer(
        accelerator="cpu", devices=2, strategy="ddp_spawn", enable_progress_bar=False, limit_test_batches=2
    )
    trainer.fit(model)
    assert not torch.equal(model.network.head.weight, before)
    (tested,) = trainer.test(model, verbose=False)
    run = firstlight.load("logs/exercise/version_0")
    assert [path.name for path in Path("logs/exercise").iterdir()] == ["version_0"]
    assert run.results["test_acc"] == pytest.approx(tested["test_acc"])
    assert model.test_predictions is not None
    assert torch.equal(model.test_predictions.logits, run.predictions.logits)
    assert len(run.predictions) == 2 * 50
    assert model.show_misclassified_images(count=1)._repr_png_().startswith(b"\x89PNG")


def test_a_run_of_fit_refuses_processes_that_end_with_the_training(tiny: str, tmp_path: Path) -> None:
    recipe = tiny_model(tiny).recipe
    with pytest.raises(UsageError, match="choose the strategy ddp, or one device"):
        firstlight.fit(recipe, logs_dir=tmp_path, accelerator="cpu", devices=2, strategy="ddp_spawn")
    assert not list(tmp_path.glob("*/*"))
