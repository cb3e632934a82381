"""Runs on the tiny data set that are interrupted at a chosen moment and resumed."""

from __future__ import annotations

import math
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl

from firstlight.data.batches import Augmentation
from firstlight.data.source import SOURCES
from firstlight.networks import ResNet9Config
from firstlight.recipes.config import OptimizerConfig, Recipe
from firstlight.training.callbacks.checkpointing import CheckpointTimes
from firstlight.training.fit import fit
from firstlight.training.resume import resume
from reference.tiny import tiny_split

ALWAYS = CheckpointTimes(every_s=0.0, share=math.inf)
NEVER = CheckpointTimes(share=0.0)
PLAIN: dict[str, Any] = {"enable_progress_bar": False, "accelerator": "cpu", "log_every_n_steps": 2}
RECIPE = Recipe(
    name="tiny",
    data="tiny",
    num_val=32,
    network=ResNet9Config(width=2),
    augmentation=Augmentation(crop_px=2, flip="random", cutout_px=4),
    optimizer=OptimizerConfig(learning_rate=0.02, schedule="one_cycle"),
    max_epochs=3,
    batch_size=48,  # 48, 48, 48 and 16 images: four steps an epoch
)


class PowerCut(BaseException):
    """An exception that no handler catches, like SIGKILL."""


class CutAt(pl.Callback):
    """Ends the training at the n-th call of a hook, before other callbacks run."""

    def __init__(self, hook: str, number: int = 1) -> None:
        self.left = number
        setattr(self, hook, self._count)

    def _count(self, *_: Any, **__: Any) -> None:
        self.left -= 1
        if not self.left:
            raise PowerCut


class SignalAt(CutAt):
    """Sends this process a signal at the n-th call of a hook."""

    def __init__(self, hook: str, number: int, *signals: signal.Signals) -> None:
        super().__init__(hook, number)
        self.signals = signals

    def _count(self, *_: Any, **__: Any) -> None:
        self.left -= 1
        for each in self.signals if not self.left else ():
            os.kill(os.getpid(), each)


def case(name: str, *values: Any) -> Any:
    """One case of a parametrized test."""
    return pytest.param(*values, id=name)


def slow(name: str, *values: Any) -> Any:
    """Return a case that is marked slow."""
    return pytest.param(*values, id=name, marks=pytest.mark.slow)


def begin(logs_dir: Path, cut: CutAt, recipe: Recipe = RECIPE, **options: Any) -> Path:
    """Train until the cut; return the run folder."""
    with pytest.raises(PowerCut):
        fit(recipe, logs_dir=logs_dir, callbacks=[cut], **({"checkpoints": ALWAYS} | PLAIN | options))
    return logs_dir / "tiny" / "version_0"


def resume_interrupted(folder: Path, cut: CutAt) -> None:
    with pytest.raises(PowerCut):
        resume(folder, callbacks=[cut], checkpoints=ALWAYS)


def train_whole(logs_dir: Path, **options: Any) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(SOURCES, "tiny", lambda data_dir, split: tiny_split(split))
        return fit(RECIPE, logs_dir=logs_dir, checkpoints=NEVER, **(PLAIN | options)).path


def cut_short(logs_dir: Path, **options: Any) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(SOURCES, "tiny", lambda data_dir, split: tiny_split(split))
        return begin(logs_dir, CutAt("on_train_batch_end", 7), **options)
