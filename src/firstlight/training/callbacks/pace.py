"""Measure the steps of a training, and estimate the time that is left."""

from __future__ import annotations

import logging
import math
import statistics
import time
from collections import deque
from typing import Any

import pytorch_lightning as pl

from firstlight.augment.progressive import ProgressiveResizing, progress_at
from firstlight.durations import duration

NUM_RECENT_STEPS = 50  # the mean of these predicts the next steps
NUM_FIRST_STEPS = 5  # the estimate for the whole training is announced after these
# Assumed duration of a validation batch, which needs no backward pass, as a share of a training step; used until a
# validation has been measured.
VALIDATION_SHARE = 1 / 3


class Pace(pl.Callback):
    """Measures steps and validations, and announces after a few steps how long the training will take.

    The first step is left out, because it includes warming up. If the recipe enlarges the images during the training,
    the time of a step at a new size is estimated in proportion to the number of pixels.

    Attributes:
        is_validated: Whether this epoch has been validated.
    """

    is_validated = False

    def __init__(self) -> None:
        self._durations_s: dict[int, deque[float]] = {}  # durations of steps by image side in pixels
        self._resizing = ProgressiveResizing()
        self._whole_px = 1
        self._num_steps_seen = 0
        self._started_s = 0.0
        self._validation_s: float | None = None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Discard the durations of an earlier training, and read the image sizes of this one."""
        self._resizing = getattr(getattr(pl_module, "recipe", None), "resizing", ProgressiveResizing())
        self._durations_s.clear()
        self._num_steps_seen = 0
        self._validation_s = None

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start timing the first step of an epoch, which has not been validated yet."""
        self.is_validated = False
        self._started_s = time.perf_counter()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Record the duration of a step, including the time to make its batch."""
        now_s = time.perf_counter()
        self._num_steps_seen += 1
        if self._resizing.initial_scale < 1:
            self._whole_px = batch[0].shape[-1]
        if self._num_steps_seen > 1:
            progress = progress_at(trainer.global_step - 1, trainer.estimated_stepping_batches)
            side_px = self._resizing.side_px(self._whole_px, progress)
            recent = self._durations_s.setdefault(side_px, deque(maxlen=NUM_RECENT_STEPS))
            recent.append(now_s - self._started_s)
        self._started_s = now_s
        if self._num_steps_seen == NUM_FIRST_STEPS and trainer.is_global_zero:
            self._announce(trainer)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start timing the validation."""
        self._started_s = time.perf_counter()

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Record the duration of the validation; Lightning's sanity check does not count."""
        now_s = time.perf_counter()
        if not trainer.sanity_checking:
            self._validation_s = now_s - self._started_s
            self.is_validated = True
        self._started_s = now_s

    def seconds_left(self, trainer: pl.Trainer) -> float:
        """Return the expected seconds of the remaining steps and validations; NaN if they cannot be estimated."""
        num_steps = max(0.0, float(trainer.estimated_stepping_batches) - trainer.global_step)
        if num_steps == 0:
            return 0.0
        if not self._durations_s or math.inf in (num_steps, trainer.num_training_batches):
            return math.nan
        num_batches = num_steps * trainer.accumulate_grad_batches
        num_validations = math.ceil(num_batches / trainer.num_training_batches)
        training_s = num_batches * self._mean_step_left_s(trainer)
        return training_s + num_validations * self._expected_validation_s(trainer)

    def _step_s(self, side_px: int) -> float:
        """Return the expected seconds of a step at an image side, extrapolated from the nearest side measured."""
        nearest_px = min(self._durations_s, key=lambda other_px: abs(other_px - side_px))
        return statistics.fmean(self._durations_s[nearest_px]) * (side_px / nearest_px) ** 2

    def _mean_step_left_s(self, trainer: pl.Trainer) -> float:
        progress = progress_at(trainer.global_step, trainer.estimated_stepping_batches)
        shares = self._resizing.shares(self._whole_px, progress)
        return sum(share * self._step_s(side_px) for side_px, share in shares.items())

    def _expected_validation_s(self, trainer: pl.Trainer) -> float:
        if self._validation_s is not None:
            return self._validation_s
        sizes = trainer.num_val_batches
        num_batches = sum(sizes) if isinstance(sizes, list) else sizes
        return VALIDATION_SHARE * self._step_s(self._whole_px) * num_batches if num_batches < math.inf else 0.0

    def _announce(self, trainer: pl.Trainer) -> None:
        left_s = self.seconds_left(trainer)
        if math.isfinite(left_s):
            step_s = self._mean_step_left_s(trainer)
            logging.getLogger("firstlight").info(
                f"about {duration(left_s)} left at {_brief(step_s)} per step: {trainer.max_epochs} epochs of "
                f"{trainer.num_training_batches} steps"
            )


def _brief(seconds: float) -> str:
    return f"{seconds:.2g} s" if seconds >= 0.1 else f"{1000 * seconds:.0f} ms"
