"""Write the checkpoints of a run, from which `firstlight.resume` continues with the same bits."""

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

AGREE_EVERY_STEPS = 10  # several processes must stop at the same step: they communicate at this interval
WRITTEN_BYTES_PER_S = 1e8  # an estimate, used until the first checkpoint has been timed

Position = Literal["batch start", "epoch start", "end"]


@dataclass(frozen=True)
class CheckpointTimes:
    """How often to write checkpoints.

    Args:
        every_s: Smallest number of seconds between two checkpoints within an epoch.
        share: Largest share of the training time that writing checkpoints may take.
    """

    every_s: float = 60.0
    share: float = 0.01


class Checkpointing(pl.Callback):
    """Writes checkpoints from which a training continues with the same bits.

    A checkpoint is written before a step or an epoch starts, or when the training ends. By then the previous step is
    complete, with its logged values and a validation within the epoch. This must be the first of the callbacks, so that
    no other callback has already acted on the next step.

    Args:
        folder: Folder of the checkpoints.
        run_folder: Run folder, whose event files are cut back when the run is resumed.
        recipe: Recipe of the run; a checkpoint cannot be used with another one.
        times: How often to write checkpoints.
        stop: Signals that stop the training.
        clock: Clock that measures the training and holds its last logged values; checkpoints keep both.

    Attributes:
        spent_s: Seconds that this process has spent on writing checkpoints.
        is_restored: Whether Lightning has restored the checkpoint, if there is one.
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
        self._earlier: dict[str, Any] = {}  # our entries of the checkpoint from which this process continued
        self._started_s = self._last_s = time.perf_counter()
        self.spent_s = 0.0
        self.is_restored = False
        self._next_cost_s = math.inf
        self._position: Position | None = None  # position that `_save` is writing

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Start the clock of the training."""
        if stage == "fit":
            self.clock.start_fit()
            self._started_s = self._last_s = time.perf_counter()
            num_bytes = sum(each.numel() * each.element_size() for each in pl_module.parameters())
            self._next_cost_s = 3 * num_bytes / WRITTEN_BYTES_PER_S  # with up to two optimizer values a weight

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Skip a training that had already ended; after a time limit, Lightning would train the remaining epochs."""
        trainer.should_stop = trainer.should_stop or self._earlier.get("is_trained", False)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Continue at the same batch, with the same state of PyTorch's random number generators.

        Raises:
            RunError: The processes have read different checkpoints.
        """
        if trainer.world_size > 1 and trainer.strategy.broadcast(trainer.global_step) != trainer.global_step:
            raise RunError(
                f"{self.folder.path}: the processes see different checkpoints; put the run folder on a disk that they "
                "share"
            )
        if "next_batch" in self._earlier:
            # If a schedule needs the number of steps, Lightning sets up the loader before it restores the position.
            batches: Any = trainer.train_dataloader
            batches.load_state_dict(self._earlier["next_batch"])
        if "random" in self._earlier:
            torch.set_rng_state(self._earlier["random"]["cpu"])
            if torch.cuda.is_available() and self._earlier["random"]["cuda"]:
                torch.cuda.set_rng_state_all(self._earlier["random"]["cuda"])
        self.is_restored = True

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write a checkpoint between two epochs, if it is time or if the training must stop."""
        is_stopped = self._in_any_process(trainer, self.stop.received is not None)
        # With `max_steps` Lightning can only continue within an epoch.
        can_save = trainer.max_steps == -1 and trainer.global_step > 0
        if can_save and (is_stopped or self._is_due(trainer, within_epoch=False)):
            self._save(trainer, "epoch start")
        if is_stopped:
            self.stop.end(f"after epoch {trainer.current_epoch}")

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Write a checkpoint within an epoch, if it is time or if the training must stop."""
        if not can_checkpoint_before_batch(trainer, batch_idx):
            return
        if trainer.world_size > 1 and batch_idx % AGREE_EVERY_STEPS:
            return
        is_stopped = self._in_any_process(trainer, self.stop.received is not None)
        if is_stopped or self._is_due(trainer, within_epoch=True):
            self._save(trainer, "batch start")
        if is_stopped:
            self.stop.end(f"in epoch {trainer.current_epoch + 1} after step {trainer.global_step}")

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write a checkpoint after the training, when averaged weights are in place and only the test remains."""
        if self._earlier.get("is_trained"):
            return
        self._earlier["is_trained"] = True
        if self._in_any_process(trainer, self.stop.received is not None) or self._is_due(trainer, within_epoch=False):
            self._save(trainer, "end")

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Add our own entries, and the position from which Lightning must continue."""
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                logger.save()
        checkpoint["firstlight"] = {
            "recipe": recipe_json(self.recipe),
            "train_s": self.clock.train_s,
            "logged": self.clock.logged(trainer),
            "is_trained": self._earlier.get("is_trained", False),
            "event_sizes": event_sizes(self.run_folder),
            "random": {
                "cpu": torch.get_rng_state(),
                "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
            },
        }
        if self._position in ("batch start", "epoch start"):
            fit_loop, next_batch = checkpoint["loops"]["fit_loop"], 0
            if self._position == "batch start":
                next_batch = rewind_to_batch_start(fit_loop)
            else:
                rewind_to_epoch_start(fit_loop)
            batches: Any = trainer.train_dataloader
            position = {"epoch": trainer.current_epoch, "next_batch": next_batch}
            checkpoint["firstlight"]["next_batch"] = batches.state_dict() | position

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Read our own entries."""
        self._earlier = dict(checkpoint.get("firstlight", {}))
        self.clock.earlier_s = float(self._earlier.get("train_s", 0.0))
        self.clock.earlier_logged = dict(self._earlier.get("logged", {}))

    def _is_due(self, trainer: pl.Trainer, *, within_epoch: bool) -> bool:
        """Return whether it is time for a checkpoint, as the first process decides."""
        now_s = time.perf_counter()
        is_early = within_epoch and now_s - self._last_s < self.times.every_s
        cost_s = self.spent_s + self._next_cost_s
        is_due = not is_early and cost_s <= self.times.share * (now_s - self._started_s)
        return self._in_any_process(trainer, is_due and trainer.is_global_zero)

    def _in_any_process(self, trainer: pl.Trainer, value: bool) -> bool:
        """Return whether the value is true in any process."""
        return trainer.strategy.reduce_boolean_decision(value, all=False)

    def _save(self, trainer: pl.Trainer, position: Position) -> None:
        started_s = time.perf_counter()
        self._position = position
        name = f"epoch_{trainer.current_epoch}-step_{trainer.global_step}"
        trainer.save_checkpoint(self.folder.path / name, weights_only=False)
        self._position = None
        self._last_s = time.perf_counter()
        self._next_cost_s = self._last_s - started_s
        self.spent_s += self._next_cost_s


def recipe_json(recipe: Recipe) -> str:
    """Return the recipe as one line of JSON; equal recipes give equal lines."""
    return json.dumps(recipe.to_dict(), sort_keys=True)
