"""The duration of a training and its last logged values, added up over all processes that worked on it."""

from __future__ import annotations

import time
from typing import Any

import pytorch_lightning as pl


class TrainingClock:
    """Measures a training, including the part that earlier processes did before the run was resumed.

    Attributes:
        earlier_s: Seconds of training by earlier processes, up to the checkpoint from which this one continues.
        earlier_logged: Last logged values at that checkpoint.
        started_s: When this process started, on the clock of `time.perf_counter`.
    """

    def __init__(self, started_s: float | None = None) -> None:
        self.earlier_s = 0.0
        self.earlier_logged: dict[str, float] = {}
        self.started_s = time.perf_counter() if started_s is None else started_s
        self._fit_started_s = self.started_s

    def start_fit(self) -> None:
        """Start measuring the training."""
        self._fit_started_s = time.perf_counter()

    @property
    def fit_s(self) -> float:
        """Seconds of training by this process."""
        return time.perf_counter() - self._fit_started_s

    @property
    def train_s(self) -> float:
        """Seconds of training by all processes."""
        return self.earlier_s + self.fit_s

    @property
    def total_s(self) -> float:
        """Seconds of training by earlier processes plus the whole running time of this one."""
        return self.earlier_s + time.perf_counter() - self.started_s

    def logged(self, trainer: pl.Trainer) -> dict[str, float]:
        """Return the last value of everything that was ever logged."""
        values: dict[str, Any] = dict(trainer.callback_metrics)
        return self.earlier_logged | {name: float(value) for name, value in values.items()}
