"""The duration of a training is estimated after a few steps, and the time left follows changes of speed."""

from __future__ import annotations

import logging
import math
from types import SimpleNamespace
from unittest.mock import Mock

import pytest
import pytorch_lightning as pl
import torch

from firstlight.augment.progressive import ProgressiveResizing
from firstlight.durations import duration
from firstlight.networks import ResNet9, ResNet9Config
from firstlight.recipes.config import Recipe
from firstlight.training.callbacks import pace
from firstlight.training.callbacks.pace import NUM_RECENT_STEPS, Pace
from firstlight.training.data_module import ImageData
from firstlight.training.module import Classifier

MODULE = Mock(spec=pl.LightningModule)


class Training:
    """Four epochs of ten steps and two validation batches, on a fake clock."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, num_val_batches: int = 2) -> None:
        self.now_s = 1000.0
        monkeypatch.setattr(pace, "time", SimpleNamespace(perf_counter=lambda: self.now_s))
        self.trainer = Mock(
            spec=pl.Trainer,
            is_global_zero=True,
            sanity_checking=False,
            global_step=0,
            estimated_stepping_batches=40,
            num_training_batches=10,
            num_val_batches=[num_val_batches],
            accumulate_grad_batches=1,
            max_epochs=4,
        )
        self.pace = Pace()
        self.pace.on_train_start(self.trainer, MODULE)
        self.pace.on_train_epoch_start(self.trainer, MODULE)

    def steps(self, number: int, step_s: float) -> None:
        for _ in range(number):
            self.now_s += step_s
            self.trainer.global_step += 1
            self.pace.on_train_batch_end(self.trainer, MODULE, None, None, 0)

    def validate(self, seconds: float) -> None:
        self.pace.on_validation_start(self.trainer, MODULE)
        self.now_s += seconds
        self.pace.on_validation_end(self.trainer, MODULE)

    @property
    def left_s(self) -> float:
        return self.pace.seconds_left(self.trainer)


def test_the_first_step_is_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    training = Training(monkeypatch, num_val_batches=0)
    training.steps(1, 60.0)
    assert math.isnan(training.left_s), "nothing can be said yet"
    training.steps(1, 2.0)
    assert training.left_s == 38 * 2.0


def test_the_time_of_a_validation_is_estimated_until_one_was_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    training = Training(monkeypatch)
    training.steps(4, 3.0)
    assert training.left_s == pytest.approx(36 * 3.0 + 4 * 2 * 3.0 / 3)
    training.steps(6, 3.0)
    training.validate(7.0)
    assert training.left_s == pytest.approx(30 * 3.0 + 3 * 7.0)
    assert training.pace.is_validated
    training.pace.on_train_epoch_start(training.trainer, MODULE)
    assert not training.pace.is_validated


def test_the_time_of_a_validation_does_not_count_as_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    training = Training(monkeypatch)
    training.steps(10, 3.0)
    training.validate(500.0)
    training.steps(1, 3.0)
    assert training.left_s == pytest.approx(29 * 3.0 + 3 * 500.0)


def test_lightnings_sanity_check_does_not_count_as_a_validation(monkeypatch: pytest.MonkeyPatch) -> None:
    training = Training(monkeypatch)
    training.trainer.sanity_checking = True
    training.validate(500.0)
    assert not training.pace.is_validated
    training.steps(2, 3.0)
    assert training.left_s == pytest.approx(38 * 3.0 + 4 * 2 * 3.0 / 3)


def test_only_recent_steps_predict_the_next_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    training = Training(monkeypatch, num_val_batches=0)
    training.trainer.estimated_stepping_batches = 200
    training.steps(20, 9.0)
    training.steps(NUM_RECENT_STEPS, 1.0)
    assert training.left_s == pytest.approx((200 - 20 - NUM_RECENT_STEPS) * 1.0)


def test_accumulated_gradients_count_all_batches_of_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    training = Training(monkeypatch, num_val_batches=0)
    training.trainer.accumulate_grad_batches = 4
    training.steps(2, 1.0)
    assert training.left_s == 38 * 4 * 1.0


@pytest.mark.parametrize("number", [40, 45])  # 45 steps are more than expected
def test_no_time_is_left_at_the_end(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    training = Training(monkeypatch)
    training.steps(number, 1.0)
    assert training.left_s == 0


def test_a_training_without_an_end_has_no_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    training = Training(monkeypatch)
    training.trainer.estimated_stepping_batches = math.inf
    training.steps(6, 1.0)
    assert math.isnan(training.left_s)


def test_steps_at_a_new_image_size_are_estimated_by_its_pixels(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    training = Training(monkeypatch, num_val_batches=0)
    resizing = ProgressiveResizing(initial_scale=0.5, delay_fraction=0.75, finetune_fraction=0.25)
    module = Mock(spec=pl.LightningModule, recipe=Recipe(resizing=resizing))
    training.pace.on_train_start(training.trainer, module)
    batch = (torch.empty(1, 3, 32, 32),)

    def step(step_s: float) -> None:
        training.now_s += step_s
        training.trainer.global_step += 1
        training.pace.on_train_batch_end(training.trainer, module, None, batch, 0)

    for _ in range(10):
        step(1.0)
    assert training.left_s == pytest.approx(20 * 1.0 + 10 * 4.0, rel=0.002)
    for _ in range(20):
        step(1.0)
    assert training.left_s == pytest.approx(10 * 4.0, rel=0.002)
    for _ in range(5):
        step(3.0)
    assert training.left_s == pytest.approx(5 * 3.0, rel=0.002)


def test_fit_announces_its_duration_once(tiny: str, caplog: pytest.LogCaptureFixture) -> None:
    recipe = Recipe(data=tiny, num_val=32, batch_size=16)
    trainer = pl.Trainer(
        max_epochs=2,
        callbacks=[Pace()],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        accelerator="cpu",
    )
    with caplog.at_level(logging.INFO, logger="firstlight"):
        trainer.fit(Classifier(ResNet9(4, ResNet9Config(width=2)), recipe), datamodule=ImageData(recipe))
    (said,) = [each.getMessage() for each in caplog.records if each.name == "firstlight"]
    assert said.startswith("about ")
    assert said.endswith("2 epochs of 10 steps")


def test_the_announcement_is_computed_from_the_first_steps(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="firstlight"):
        Training(monkeypatch, num_val_batches=0).steps(12, 2.5)
    assert [each.getMessage() for each in caplog.records] == [
        "about 1 min 28 s left at 2.5 s per step: 4 epochs of 10 steps"  # 35 of 40 steps
    ]


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "0 s"),
        (0.4, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min 0 s"),
        (60, "1 min 0 s"),
        (3599.4, "59 min 59 s"),
        (3599.6, "1 h 0 min"),
        (3661, "1 h 1 min"),
        (7199, "1 h 59 min"),
        (200_000, "55 h 33 min"),
    ],
)
def test_a_duration_never_shows_sixty_seconds_or_minutes(seconds: float, said: str) -> None:
    assert duration(float(seconds)) == said
