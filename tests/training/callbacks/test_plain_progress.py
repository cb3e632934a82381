"""Progress in plain lines: their content, their times, and the format of the time left."""

from __future__ import annotations

import logging
import re
from types import SimpleNamespace
from unittest.mock import Mock

import pytest
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, TensorDataset

from firstlight.networks import ResNet9, ResNet9Config
from firstlight.training.callbacks import pace, plain_progress
from firstlight.training.callbacks.plain_progress import PlainProgress
from firstlight.training.module import Classifier
from reference.tiny import tiny_split

NUMBER = r"\d+\.\d{4}"
LEFT = r"(\d+ s|\d+ min \d+ s|\d+ h \d+ min) left"


def train(capsys: pytest.CaptureFixture[str], **options: object) -> tuple[pl.Trainer, list[str]]:
    """Train with three batches per epoch; return the trainer and the printed lines."""
    images = tiny_split("test")[:20]
    loader = DataLoader(TensorDataset(images.images / 255, images.labels), batch_size=8)
    trainer = pl.Trainer(
        callbacks=[PlainProgress()],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        accelerator="cpu",
        **options,
    )
    torch.manual_seed(0)
    capsys.readouterr()
    trainer.fit(Classifier(ResNet9(4, ResNet9Config(width=2))), loader, loader)
    printed = capsys.readouterr()
    assert printed.out == "", "standard output is for results"
    return trainer, printed.err.splitlines()


def test_every_epoch_prints_a_line_with_its_metrics_and_the_time_left(capsys: pytest.CaptureFixture[str]) -> None:
    trainer, lines = train(capsys, max_epochs=2)
    lines = [line for line in lines if line.startswith("epoch")]
    assert len(lines) == 2
    names = ("train_loss_epoch", "train_acc_epoch", "val_loss", "val_acc")
    pattern = "  ".join([r"epoch {}/2  done", *(f"{name} {NUMBER}" for name in names), LEFT])
    for number, line in enumerate(lines, start=1):
        assert re.fullmatch(pattern.replace("{}", str(number)), line), line
    numbers = dict(part.split(" ") for part in lines[-1].split("  ")[2:6])
    assert {name: float(numbers[name]) for name in names} == pytest.approx(
        {name: float(trainer.callback_metrics[name]) for name in names}, abs=6e-5
    )
    assert lines[-1].endswith("  0 s left")


def test_an_epoch_without_validation_does_not_repeat_earlier_metrics(
    capsys: pytest.CaptureFixture[str],
) -> None:
    _, lines = train(capsys, max_epochs=3, check_val_every_n_epoch=2)
    assert ["val_loss" in line for line in lines if line.startswith("epoch")] == [False, True, False]


def test_a_long_epoch_prints_lines_before_its_end(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plain_progress, "SECONDS_BETWEEN_LINES", 0.0)
    _, lines = train(capsys, max_epochs=1)
    steps = [line for line in lines if "step" in line.split("  ")[1]]
    for number, line in enumerate(steps, start=1):
        left = rf"  {LEFT}" if number > 1 else ""  # the first step warms up and is not used for the estimate
        assert re.fullmatch(rf"epoch 1/1  step {number}/3  train_loss_step {NUMBER}{left}", line), line
    assert len(steps) == 3


def test_a_training_without_an_end_prints_no_number_of_epochs(capsys: pytest.CaptureFixture[str]) -> None:
    class Enough(pl.Callback):
        def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
            trainer.should_stop = trainer.current_epoch == 1

    images = tiny_split("test")[:8]
    loader = DataLoader(TensorDataset(images.images / 255, images.labels), batch_size=8)
    trainer = pl.Trainer(
        max_epochs=-1,
        callbacks=[PlainProgress(), Enough()],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        accelerator="cpu",
    )
    trainer.fit(Classifier(ResNet9(4, ResNet9Config(width=2))), loader)
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("epoch")]
    assert [line.split("  ")[0] for line in lines] == ["epoch 1", "epoch 2"]
    assert not any("left" in line or "inf" in line for line in lines)


class Clock:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_s = 1000.0
        for each in (plain_progress, pace):
            monkeypatch.setattr(each, "time", SimpleNamespace(perf_counter=lambda: self.now_s))


MODULE = Mock(spec=pl.LightningModule)


def stub(**changes: object) -> pl.Trainer:
    """The attributes of a Trainer that a line needs."""
    values = {
        "is_global_zero": True,
        "global_step": 0,
        "estimated_stepping_batches": 40,
        "num_training_batches": 10,
        "current_epoch": 0,
        "max_epochs": 4,
        "num_val_batches": [0],
        "accumulate_grad_batches": 1,
        "callback_metrics": {},
    }
    return Mock(spec=pl.Trainer, **(values | changes))


def test_lines_are_thirty_seconds_apart(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    clock, progress = Clock(monkeypatch), PlainProgress()
    monkeypatch.setattr(logging.getLogger("firstlight"), "disabled", True)  # another test may have printed already
    progress.on_train_start(stub(), MODULE)
    progress.on_train_epoch_start(stub(), MODULE)
    for step in range(1, 11):
        clock.now_s += 8
        progress.on_train_batch_end(stub(global_step=step), MODULE, None, None, step - 1)
    printed = capsys.readouterr().err.splitlines()
    assert [line.split("  ")[1] for line in printed] == ["step 4/10", "step 8/10"]


def test_only_the_first_process_prints(capsys: pytest.CaptureFixture[str]) -> None:
    progress = PlainProgress()
    progress.on_train_start(stub(), MODULE)
    progress.on_train_epoch_end(stub(is_global_zero=False), MODULE)
    assert capsys.readouterr().err == ""
