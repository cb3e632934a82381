"""The text of the progress bar on a recording terminal."""

from __future__ import annotations

import io
from typing import Any

import rich

import firstlight
from firstlight.networks import ResNet9Config
from firstlight.training.callbacks.epoch_bar import EpochBar


def test_epochs_are_counted_from_one_without_the_version(tiny: str) -> None:
    screen = io.StringIO()
    bar = EpochBar(console_kwargs={"file": screen, "force_terminal": True, "width": 160})
    model = firstlight.CustomResNet(num_classes=4, data=tiny, num_val=32, network=ResNet9Config(width=2))
    options: dict[str, Any] = {"logger": False, "enable_checkpointing": False, "enable_model_summary": False}
    firstlight.Trainer(max_epochs=2, callbacks=[bar], **options).fit(model)
    rich.reconfigure()
    shown = screen.getvalue()
    assert "Epoch 1/2" in shown
    assert "Epoch 2/2" in shown
    assert "Epoch 0" not in shown
    assert "v_num" not in shown
    assert "val_acc:" in shown
    assert "train_loss" not in shown
