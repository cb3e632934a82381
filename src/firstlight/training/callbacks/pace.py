"""Pace: how fast a training goes, and how long it will take."""

from __future__ import annotations

import logging
import math
import statistics
import time
from collections import deque
from typing import Any

import pytorch_lightning as pl

from firstlight.training.resizing import ProgressiveResizing

NUM_RECENT_STEPS = 50  # whose mean duration stands for the steps to come
NUM_FIRST_STEPS = 5  # after which the duration of the whole training is announced
VALIDATION_SHARE = 1 / 3  # of a training step, until one was measured: a forward pass without the backward one


class Pace(pl.Callback):
    """Measures steps and validations, and announces after a few steps how long the training will take.

    The first step is left out, since it warms up: memory, kernels, threads. Where the recipe has the images grow, a
    step's duration counts by its pixels.

    Attributes:
        is_validated: whether this epoch has been.
    """

    is_validated = False

    def __init__(self) -> None:
        self._step_durations_s: deque[float] = deque(maxlen=NUM_RECENT_STEPS)  # as on whole images
        self._resizing = ProgressiveResizing()
        self._whole_px = 1
        self._num_steps_seen = 0
        self._started_s = 0.0
        self._validation_s: float | None = None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Forget an earlier training, and see how the images of this one grow."""
        self._resizing = getattr(getattr(pl_module, "recipe", None), "resizing", ProgressiveResizing())
        self._step_durations_s.clear()
        self._num_steps_seen = 0
        self._validation_s = None

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock of the first step; this epoch has not been validated yet."""
        self.is_validated = False
        self._started_s = time.perf_counter()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Note how long the step took, the making of its batch included."""
        now_s = time.perf_counter()
        self._num_steps_seen += 1
        work = 1.0
        if self._resizing.initial_scale < 1:
            self._whole_px = batch[0].shape[-1]
            work = self._work_of_last_step(trainer)
        if self._num_steps_seen > 1:
            self._step_durations_s.append((now_s - self._started_s) / work)
        self._started_s = now_s
        if self._num_steps_seen == NUM_FIRST_STEPS and trainer.is_global_zero:
            self._announce(trainer)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock of the validation."""
        self._started_s = time.perf_counter()

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Note how long the validation took; Lightning's sanity check is none."""
        now_s = time.perf_counter()
        if not trainer.sanity_checking:
            self._validation_s = now_s - self._started_s
            self.is_validated = True
        self._started_s = now_s

    def seconds_left(self, trainer: pl.Trainer) -> float:
        """Return how long the steps and validations to come will take; not a number if that cannot be said."""
        num_steps = max(0.0, float(trainer.estimated_stepping_batches) - trainer.global_step)
        if num_steps == 0:
            return 0.0
        if not self._step_durations_s or math.inf in (num_steps, trainer.num_training_batches):
            return math.nan
        step_s = statistics.fmean(self._step_durations_s)
        num_batches = num_steps * trainer.accumulate_grad_batches
        num_validations = math.ceil(num_batches / trainer.num_training_batches)
        training_s = num_batches * step_s * self._mean_work_left(trainer)
        return training_s + num_validations * self._expected_validation_s(trainer, step_s)

    def _work_of_last_step(self, trainer: pl.Trainer) -> float:
        """Its pixels, as a share of a step's on whole images."""
        before = max(0, trainer.global_step - 1) / max(1.0, float(trainer.estimated_stepping_batches))
        return self._resizing.relative_work(self._whole_px, min(1.0, before))

    def _mean_work_left(self, trainer: pl.Trainer) -> float:
        progress = trainer.global_step / max(1.0, float(trainer.estimated_stepping_batches))
        return self._resizing.mean_relative_work(self._whole_px, min(1.0, progress))

    def _expected_validation_s(self, trainer: pl.Trainer, step_s: float) -> float:
        if self._validation_s is not None:
            return self._validation_s
        sizes = trainer.num_val_batches
        num_batches = sum(sizes) if isinstance(sizes, list) else sizes
        return VALIDATION_SHARE * step_s * num_batches if num_batches < math.inf else 0.0

    def _announce(self, trainer: pl.Trainer) -> None:
        left_s = self.seconds_left(trainer)
        if math.isfinite(left_s):
            step_s = statistics.fmean(self._step_durations_s) * self._mean_work_left(trainer)
            logging.getLogger("firstlight").info(
                f"about {duration(left_s)} to go at {_brief(step_s)} a step: {trainer.max_epochs} epochs of "
                f"{trainer.num_training_batches} steps"
            )


def duration(seconds: float) -> str:
    """Return a length of time as a person would say it.

    >>> duration(7.4), duration(75.0), duration(7380.0)
    ('7 s', '1 min 15 s', '2 h 3 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def _brief(seconds: float) -> str:
    return f"{seconds:.2g} s" if seconds >= 0.1 else f"{1000 * seconds:.0f} ms"
