"""When a training writes its checkpoints, and what they hold beside Lightning's own."""

from __future__ import annotations

import json
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import TensorBoardLogger

from firstlight.errors import RunError
from firstlight.recipes.config import Recipe
from firstlight.runs.checkpoints import CheckpointFolder
from firstlight.training.callbacks.stop_signals import StopSignals
from firstlight.training.lightning_internals import (
    can_checkpoint_before_batch,
    rewind_to_batch_start,
    rewind_to_epoch_start,
)
from firstlight.training.loggers.event_files import event_sizes
from firstlight.training.training_clock import TrainingClock

AGREE_EVERY_STEPS = 10  # several processes must stop at the same step: they ask each other this often
WRITTEN_BYTES_PER_S = 1e8  # a guess, until the first checkpoint has been timed

Place = Literal["batch start", "epoch start", "end"]


@dataclass(frozen=True)
class CheckpointTimes:
    """How often checkpoints are written.

    Args:
        every_s: seconds between two of them within an epoch, at least.
        share: of the training time, which all of them together may take, at most.
    """

    every_s: float = 60.0
    share: float = 0.01


class Checkpointing(pl.Callback):
    """Writes checkpoints from which the training goes on with the same bits.

    It does so before a step or an epoch begins, and when the training ends: what belongs to the step before, its logged
    numbers and a validation within the epoch included, has been done by then. It must be the first of the callbacks,
    so that nothing has yet been done for the step to come.

    Args:
        folder: of the checkpoints.
        run_folder: of the run.
        recipe: of the run; a checkpoint is of no use with another.
        times: how often.
        stop: tells whether the training has to stop.
        clock: Duration and logged values of the training, which checkpoints keep.

    Attributes:
        spent_s: seconds that writing has taken in this process.
    """

    def __init__(
        self,
        folder: CheckpointFolder,
        run_folder: Path,
        recipe: Recipe,
        times: CheckpointTimes,
        stop: StopSignals,
        clock: TrainingClock | None = None,
    ) -> None:
        self.folder = folder
        self.run_folder = run_folder
        self.recipe = recipe
        self.times = times
        self.stop = stop
        self.clock = clock or TrainingClock()
        self._earlier: dict[str, Any] = {}  # what the checkpoint says that this process went on from
        self._started_s = self._last_s = time.perf_counter()
        self.spent_s = 0.0
        self._next_cost_s = math.inf
        self._place: Place | None = None  # what is being saved, while `_save` does it

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Start the clock of the training."""
        if stage == "fit":
            self.clock.start_fit()
            self._started_s = self._last_s = time.perf_counter()
            num_bytes = sum(each.numel() * each.element_size() for each in pl_module.parameters())
            self._next_cost_s = 3 * num_bytes / WRITTEN_BYTES_PER_S  # the optimizer keeps up to two more of each

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Train no more if the training had ended: by a time limit, for instance, which does not show in the epochs."""
        trainer.should_stop = trainer.should_stop or self._earlier.get("is_trained", False)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Go on at the same batch, and with the same random numbers where a network draws some.

        Raises:
            RunError: the processes have read different checkpoints.
        """
        if trainer.world_size > 1 and trainer.strategy.broadcast(trainer.global_step) != trainer.global_step:
            raise RunError(f"{self.folder.path}: not all processes see the same checkpoints; is it on a disk of all?")
        if "next_batch" in self._earlier:
            # Lightning does so itself, but not if a schedule has asked for the number of steps: then it is too early.
            batches: Any = trainer.train_dataloader
            batches.load_state_dict(self._earlier["next_batch"])
        if "random" in self._earlier:
            torch.set_rng_state(self._earlier["random"]["cpu"])
            if torch.cuda.is_available() and self._earlier["random"]["cuda"]:
                torch.cuda.set_rng_state_all(self._earlier["random"]["cuda"])

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write one between two epochs."""
        is_stopped = self._agreed(trainer, self.stop.received is not None)
        # Lightning takes a number of steps as the end for something that happens within an epoch only.
        can_save = trainer.max_steps == -1 and trainer.global_step > 0
        if can_save and (is_stopped or self._is_due(trainer, within_epoch=False)):
            self._save(trainer, "epoch start")
        if is_stopped:
            self.stop.end(f"after epoch {trainer.current_epoch}")

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Write one if it is time, or if the training has to stop."""
        if not can_checkpoint_before_batch(trainer, batch_idx):
            return
        if trainer.world_size > 1 and batch_idx % AGREE_EVERY_STEPS:
            return
        is_stopped = self._agreed(trainer, self.stop.received is not None)
        if is_stopped or self._is_due(trainer, within_epoch=True):
            self._save(trainer, "batch start")
        if is_stopped:
            self.stop.end(f"in epoch {trainer.current_epoch + 1} after step {trainer.global_step}")

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write one from which only the test is left to do: averaged weights have come in their place by now."""
        if self._earlier.get("is_trained"):
            return
        self._earlier["is_trained"] = True
        if self._agreed(trainer, self.stop.received is not None) or self._is_due(trainer, within_epoch=False):
            self._save(trainer, "end")

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Add what only we know, and the place at which Lightning is to go on."""
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                logger.save()
        checkpoint["firstlight"] = {
            "recipe": as_text(self.recipe),
            "train_s": self.clock.train_s,
            "logged": self.clock.logged(trainer),
            "is_trained": self._earlier.get("is_trained", False),
            "event_sizes": event_sizes(self.run_folder),
            "random": {
                "cpu": torch.get_rng_state(),
                "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
            },
        }
        if self._place in ("batch start", "epoch start"):
            fit_loop, next_batch = checkpoint["loops"]["fit_loop"], 0
            if self._place == "batch start":
                next_batch = rewind_to_batch_start(fit_loop)
            else:
                rewind_to_epoch_start(fit_loop)
            batches: Any = trainer.train_dataloader
            place = {"epoch": trainer.current_epoch, "next_batch": next_batch}
            checkpoint["firstlight"]["next_batch"] = batches.state_dict() | place

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Take it out."""
        self._earlier = dict(checkpoint.get("firstlight", {}))
        self.clock.earlier_s = float(self._earlier.get("train_s", 0.0))
        self.clock.earlier_logged = dict(self._earlier.get("logged", {}))

    def _is_due(self, trainer: pl.Trainer, *, within_epoch: bool) -> bool:
        """Whether it is time, as the first process sees it."""
        now_s = time.perf_counter()
        is_early = within_epoch and now_s - self._last_s < self.times.every_s
        cost_s = self.spent_s + self._next_cost_s
        is_due = not is_early and cost_s <= self.times.share * (now_s - self._started_s)
        return self._agreed(trainer, is_due and trainer.is_global_zero)

    def _agreed(self, trainer: pl.Trainer, wish: bool) -> bool:
        return trainer.strategy.reduce_boolean_decision(wish, all=False)

    def _save(self, trainer: pl.Trainer, place: Place) -> None:
        started_s = time.perf_counter()
        self._place = place
        name = f"epoch_{trainer.current_epoch}-step_{trainer.global_step}"
        trainer.save_checkpoint(self.folder.path / name, weights_only=False)
        self._place = None
        self._last_s = time.perf_counter()
        self._next_cost_s = self._last_s - started_s
        self.spent_s += self._next_cost_s


def as_text(recipe: Recipe) -> str:
    """Return the recipe in one line, the same for equal recipes."""
    return json.dumps(recipe.to_dict(), sort_keys=True)
