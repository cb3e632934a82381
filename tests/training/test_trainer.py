"""The Trainer's defaults, and that every argument of Lightning's overrides them."""

from __future__ import annotations

import pickle
from pathlib import Path
from weakref import WeakSet

import pytest
import torch
from pytorch_lightning.callbacks import TQDMProgressBar
from pytorch_lightning.demos.boring_classes import BoringModel
from pytorch_lightning.loggers import TensorBoardLogger

from firstlight.recipes.config import Recipe
from firstlight.training import epochs
from firstlight.training import trainer as module
from firstlight.training.callbacks.epoch_bar import EpochBar
from firstlight.training.callbacks.plain_progress import PlainProgress
from firstlight.training.exercise import CustomResNet
from firstlight.training.precision import default_precision
from firstlight.training.trainer import SILENT, Trainer


def test_the_defaults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(epochs, "_made", WeakSet())
    trainer = Trainer(accelerator="cpu")
    assert trainer.max_epochs == Recipe().max_epochs == 24
    assert trainer.precision == default_precision("cpu")
    assert isinstance(trainer.logger, TensorBoardLogger)
    assert trainer.logger.root_dir.startswith("logs")


def test_lightnings_arguments_override_the_defaults() -> None:
    trainer = Trainer(max_epochs=3, precision="64-true", logger=False, accelerator="cpu", log_every_n_steps=7)
    assert (trainer.max_epochs, trainer.precision, trainer.log_every_n_steps) == (3, "64-true", 7)
    assert trainer.loggers == []


def test_each_model_is_trained_for_the_epochs_of_its_recipe(tiny: str) -> None:
    trainer = Trainer(limit_train_batches=1, **SILENT)
    for max_epochs in (1, 2):
        model = CustomResNet(data=tiny, num_classes=4, num_val=32, network={"width": 2}, max_epochs=max_epochs)
        trainer.fit(model)
        assert trainer.max_epochs == trainer.current_epoch == max_epochs
    trainer.fit_loop.max_epochs = 3  # the usual way to go on training
    trainer.fit(model)
    assert trainer.max_epochs == trainer.current_epoch == 3


def test_before_the_training_the_trainer_reports_the_epochs_of_the_model(
    tiny: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(epochs, "_made", WeakSet())
    options = {"data": tiny, "num_classes": 4, "num_val": 32, "network": {"width": 2}}
    trained = CustomResNet(max_epochs=1, **options)
    Trainer(**SILENT).fit(trained)
    trainer, given = Trainer(**SILENT), Trainer(max_epochs=5, **SILENT)
    model = CustomResNet(max_epochs=2, **options)
    assert (trainer.max_epochs, given.max_epochs) == (2, 5)
    other = CustomResNet(max_epochs=3, **options)
    assert trainer.max_epochs is None, "either of two models with different epochs may be trained"
    trainer.test(model, verbose=False)
    assert trainer.max_epochs == 2
    assert Trainer(**SILENT).max_epochs == 3, "one model is left that no trainer has met"
    trainer.fit(other)
    assert trainer.max_epochs == trainer.current_epoch == 3


def test_epochs_of_an_earlier_model_are_reported(tiny: str, caplog: pytest.LogCaptureFixture) -> None:
    """Lightning counts the epochs of all calls of `fit`."""
    trainer = Trainer(limit_train_batches=1, max_epochs=1, **SILENT)
    with caplog.at_level("INFO", "firstlight"):
        for _ in range(2):
            trainer.fit(CustomResNet(data=tiny, num_classes=4, num_val=32, network={"width": 2}))
    assert caplog.text.count("has trained 1 of max_epochs=1 epochs, so it trains 0 now: make a new Trainer") == 1


def test_a_module_without_a_recipe_is_trained_for_the_exercise_s_epochs() -> None:
    trainer = Trainer(limit_train_batches=1, limit_val_batches=0, **SILENT)
    trainer.fit(BoringModel())
    assert trainer.max_epochs == trainer.current_epoch == 24


class Bomb:
    """An object whose unpickling creates a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> object:
        return (Path.touch, (self.path,))


def test_a_checkpoint_that_contains_code_is_refused_and_not_executed(tmp_path: Path) -> None:
    """firstlight.fit has its own reader of checkpoints; this test is about any file that a script names."""
    torch.save({"state_dict": Bomb(tmp_path / "executed")}, tmp_path / "bad.ckpt")
    trainer = Trainer(max_epochs=1, logger=False, accelerator="cpu", enable_checkpointing=False)
    with pytest.raises(pickle.UnpicklingError):
        trainer.fit(BoringModel(), ckpt_path=tmp_path / "bad.ckpt")
    assert not (tmp_path / "executed").exists()


def test_progress_is_a_bar_on_a_terminal_and_lines_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    def progress(**options: object) -> list[type]:
        trainer = Trainer(logger=False, accelerator="cpu", enable_checkpointing=False, **options)
        kinds = (PlainProgress, EpochBar, TQDMProgressBar)
        return [type(each) for each in trainer.callbacks if isinstance(each, kinds)]

    monkeypatch.setattr(module, "_can_redraw", lambda: True)
    assert progress() == [EpochBar]
    assert progress(enable_progress_bar=False) == []
    assert progress(callbacks=[TQDMProgressBar()]) == [TQDMProgressBar]
    monkeypatch.setattr(module, "_can_redraw", lambda: False)
    assert progress() == [PlainProgress]
    assert progress(enable_progress_bar=False) == []
    assert progress(callbacks=TQDMProgressBar()) == [TQDMProgressBar]
