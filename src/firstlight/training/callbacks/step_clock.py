"""Time training steps after a warm-up, for benchmarks."""

from __future__ import annotations

import time
from typing import Any

import pytorch_lightning as pl
import torch


class StepClock(pl.Callback):
    """Measures from the end of the warm-up to the end of the last step.

    Args:
        num_warmup_steps: Number of first steps that are not timed.

    Attributes:
        seconds: Seconds of the timed steps so far.
    """

    def __init__(self, num_warmup_steps: int) -> None:
        self.num_warmup_steps = num_warmup_steps
        self.seconds = 0.0
        self._started_s = 0.0

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Start after the warm-up; update `seconds` after every step."""
        now_s = synchronized_time_s(trainer.strategy.root_device)
        if batch_idx + 1 == self.num_warmup_steps:
            self._started_s = now_s
        self.seconds = now_s - self._started_s


def synchronized_time_s(device: torch.device) -> float:
    """Wait until the device has finished, and return the time on the clock of `time.perf_counter`."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
