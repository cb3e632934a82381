"""The line that announces a training, and the advice that follows it."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

import firstlight
from firstlight.networks import ResNet9Config
from firstlight.training import announcement
from firstlight.training.trainer import SILENT


@pytest.mark.parametrize("is_late", [False, True])
def test_torch_before_firstlight_is_mentioned_once_and_only_then(
    is_late: bool, tiny: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(announcement, "came_too_late", lambda: is_late)
    model = firstlight.CustomResNet(data=tiny, num_classes=4, num_val=32, network=ResNet9Config(width=2))
    model.data.setup("fit")
    trainer = firstlight.Trainer(max_epochs=1, accelerator="cpu", devices=1, **SILENT)
    with caplog.at_level(logging.INFO, "firstlight"):
        announcement.announce(trainer, model, model.data, tmp_path)
    assert caplog.messages[0].startswith("ResNet9 with ")
    assert f"run folder {tmp_path}" in caplog.messages[0]
    advice = [message for message in caplog.messages if "import firstlight first" in message]
    assert len(advice) == is_late
