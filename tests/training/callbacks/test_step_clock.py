from __future__ import annotations

from types import SimpleNamespace
from unittest.mock import Mock

import pytest
import pytorch_lightning as pl
import torch

from firstlight.training.callbacks import step_clock
from firstlight.training.callbacks.step_clock import StepClock


def test_it_runs_from_the_end_of_the_warm_up_to_the_end_of_the_last_step(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = 100.0
    monkeypatch.setattr(step_clock, "time", SimpleNamespace(perf_counter=lambda: now_s))
    trainer = Mock(spec=pl.Trainer, strategy=SimpleNamespace(root_device=torch.device("cpu")))
    clock = StepClock(num_warmup_steps=2)
    for step, step_s in enumerate((50.0, 7.0, 1.0, 2.0, 3.0)):
        now_s += step_s
        clock.on_train_batch_end(trainer, Mock(spec=pl.LightningModule), None, None, step)
    assert clock.seconds == 6.0
