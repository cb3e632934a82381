"""Running means against hand arithmetic, and in Lightning against logging at every step."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from firstlight.data.batches import Augmentation, Batches
from firstlight.data.sampler import EpochSampler
from firstlight.networks import ResNet9, ResNet9Config
from firstlight.training.bench import noise_images
from firstlight.training.loggers.running_means import RunningMeans
from firstlight.training.module import Classifier
from firstlight.training.trainer import SILENT, Trainer


def test_a_loaded_state_continues_the_means() -> None:
    whole, first, second = RunningMeans(), RunningMeans(), RunningMeans()
    steps = [({"a": torch.rand(()), "b": torch.rand(())}, count) for count in (7, 3, 5)]
    for values, count in steps:
        whole.add(values, count)
    first.add(*steps[0])
    second.load_state(first.state())
    for step in steps[1:]:
        second.add(*step)
    (expected, count), (got, same_count) = whole.take(), second.take()
    assert count == same_count == 15
    assert expected == got  # bit for bit
    by_hand = sum(float(values["a"]) * count for values, count in steps) / 15
    assert float(got["a"]) == pytest.approx(by_hand, rel=1e-6)


def test_an_empty_state() -> None:
    means = RunningMeans()
    means.load_state(RunningMeans().state())
    assert means.take() == ({}, 0)


class Remembering(Classifier):
    """Records the result of every step and every logged name."""

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        self.logged = False
        loss = super().training_step(batch, batch_idx)
        self.losses.append((float(loss), len(batch[1])))
        self.steps_logged.append(self.logged)
        return loss

    def log_dict(self, *args: Any, **kwargs: Any) -> None:
        self.logged = True
        super().log_dict(*args, **kwargs)


@pytest.mark.parametrize("every_n_steps", [0, 1, 4, 50])
@pytest.mark.parametrize("max_steps", [-1, 10])
def test_an_epochs_mean_is_over_every_step_at_any_logging_interval(every_n_steps: int, max_steps: int) -> None:
    batches = Batches(noise_images(13 * 8 - 3), EpochSampler(13 * 8 - 3, 8, shuffle=True, seed=0), Augmentation())
    model = Remembering(ResNet9(10, ResNet9Config(width=2)))
    model.losses, model.steps_logged = [], []
    how = SILENT | {"log_every_n_steps": every_n_steps}
    trainer = Trainer(max_epochs=1, max_steps=max_steps, accelerator="cpu", **how)
    trainer.fit(model, batches)
    num_steps = len(model.losses)
    assert num_steps == (13 if max_steps < 0 else 10)
    expected = sum(loss * count for loss, count in model.losses) / sum(count for _, count in model.losses)
    assert float(trainer.callback_metrics["train_loss_epoch"]) == pytest.approx(expected, rel=1e-5)
    wanted = {1, num_steps} | (set(range(every_n_steps, num_steps + 1, every_n_steps)) if every_n_steps else set())
    assert {step for step, logged in enumerate(model.steps_logged, 1) if logged} == wanted


def test_peek_does_not_reset_the_means() -> None:
    means = RunningMeans()
    assert means.peek() == {}
    means.add({"loss": torch.tensor(1.0)}, 30)
    means.add({"loss": torch.tensor(2.0)}, 10)
    assert means.peek() == {"loss": 1.25}
    assert means.take()[1] == 40
    assert means.peek() == {}
