"""Wrong arguments of the Trainer are named before anything runs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
from pytorch_lightning.callbacks import EarlyStopping, ModelCheckpoint
from pytorch_lightning.loggers import CSVLogger

import firstlight
from firstlight.errors import UsageError
from firstlight.networks import ResNet9Config
from firstlight.training.trainer import Trainer
from firstlight.training.trainer_arguments import check_arguments

QUIET: dict[str, Any] = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"max_epochs": "3"}, "max_epochs must be an integer, not '3'"),
        ({"min_epochs": 1.5}, "min_epochs must be an integer, not 1.5"),
        ({"max_steps": True}, "max_steps must be an integer, not True"),
        ({"log_every_n_steps": "often"}, "log_every_n_steps must be an integer, not 'often'"),
        ({"callbacks": "early"}, "callbacks must be Callback objects, not 'early'"),
        ({"callbacks": [ModelCheckpoint]}, r"create an object, as in ModelCheckpoint\(...\)"),
        ({"logger": "tensorboard"}, "logger must be True, False or Logger objects, not 'tensorboard'"),
        ({"logger": [CSVLogger]}, r"create an object, as in CSVLogger\(...\)"),
    ],
)
def test_a_wrong_type_is_named(options: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        check_arguments(options)


def test_the_trainer_checks_its_arguments() -> None:
    with pytest.raises(UsageError, match="max_steps must be an integer, not '3'"):
        Trainer(max_steps="3")


def test_numbers_of_numpy_and_single_objects_are_accepted() -> None:
    trainer = Trainer(min_epochs=np.int64(2), callbacks=pl.Callback(), **QUIET)
    assert trainer.min_epochs == 2


class _OwnMetrics(firstlight.CustomResNet):
    def validation_step(self, *arguments: Any) -> None:
        super().validation_step(*arguments)
        self.log("own", 1.0)


def tiny_model(tiny: str, kind: type[firstlight.CustomResNet]) -> firstlight.CustomResNet:
    return kind(num_classes=4, data=tiny, num_val=32, batch_size=64, network=ResNet9Config(width=2))


def test_a_misspelled_metric_is_named_before_the_training(tiny: str) -> None:
    trainer = Trainer(max_epochs=1, callbacks=[EarlyStopping("val_los")], **QUIET)
    with pytest.raises(UsageError, match="monitors 'val_los', which is not logged: did you mean val_loss"):
        trainer.fit(tiny_model(tiny, firstlight.CustomResNet))
    assert trainer.global_step == 0


@pytest.mark.parametrize(
    ("kind", "metric"),
    [(firstlight.CustomResNet, name) for name in ("train_acc_epoch", "train_loss", "val_acc")] + [(_OwnMetrics, "own")],
)
def test_metrics_that_are_logged_are_accepted(tiny: str, kind: type[firstlight.CustomResNet], metric: str) -> None:
    trainer = Trainer(max_epochs=1, callbacks=[EarlyStopping(metric)], **QUIET)
    trainer.fit(tiny_model(tiny, kind))
    assert trainer.global_step > 0
