"""A clock for benchmarks: the seconds that steps take once the training has warmed up."""

from __future__ import annotations

import time
from typing import Any

import pytorch_lightning as pl
import torch


class StepClock(pl.Callback):
    """Measures from the end of the warm-up to the end of the last step.

    Args:
        num_warmup_steps: that do not count.

    Attributes:
        seconds: so far.
    """

    def __init__(self, num_warmup_steps: int) -> None:
        self.num_warmup_steps = num_warmup_steps
        self.seconds = 0.0
        self._started_s = 0.0

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Start after the warm-up, and stop anew at every step."""
        now_s = finished_s(trainer.strategy.root_device)
        if batch_idx + 1 == self.num_warmup_steps:
            self._started_s = now_s
        self.seconds = now_s - self._started_s


def finished_s(device: torch.device) -> float:
    """Wait until all that was asked of the device is done, and return the time on the clock of `time.perf_counter`."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
