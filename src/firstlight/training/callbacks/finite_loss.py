"""Stop a training whose loss is not finite, before a checkpoint is written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from firstlight.errors import NotFiniteError
from firstlight.runs.checkpoints import CheckpointFolder, all_tensors

CHECK_EVERY_STEPS = 10
NEVER = 2**62


class FiniteLoss(pl.Callback):
    """Checks every loss on the device, and reads the result every ten steps and before every checkpoint.

    Reading it at every step would make the CPU wait for the GPU. The error still names the first bad step.

    Args:
        folder: Checkpoints of the run; the error names the last good one.
    """

    def __init__(self, folder: CheckpointFolder | None = None) -> None:
        self.folder = folder
        self._first_bad = torch.tensor(NEVER)  # the first step with such a loss
        self._epoch = 0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Reset the result of an earlier training."""
        self._first_bad = torch.tensor(NEVER, device=pl_module.device)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Check the loss of a step."""
        self._epoch = trainer.current_epoch + 1
        loss = outputs.get("loss") if isinstance(outputs, Mapping) else outputs
        if isinstance(loss, Tensor):
            seen = torch.where(torch.isfinite(loss.detach()), NEVER, trainer.global_step)
            self._first_bad = torch.minimum(self._first_bad, seen)
        if (batch_idx + 1) % CHECK_EVERY_STEPS == 0:
            self._check(trainer)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Read the result at the end of an epoch."""
        self._check(trainer)

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Refuse to write a checkpoint with values that are not finite.

        Raises:
            NotFiniteError: A loss, a weight or a value of the optimizer is not finite.
        """
        if not trainer.training:
            return
        self._check(trainer)
        saved = all_tensors([checkpoint["state_dict"], checkpoint.get("optimizer_states", [])])
        is_bad = any(each.is_floating_point() and not bool(each.isfinite().all()) for each in saved)
        if trainer.strategy.reduce_boolean_decision(is_bad, all=False):
            self._stop(trainer, "weights or the optimizer's values are no longer finite numbers", trainer.global_step)

    def _check(self, trainer: pl.Trainer) -> None:
        is_bad = int(self._first_bad) < NEVER
        if trainer.strategy.reduce_boolean_decision(is_bad, all=False):
            self._stop(trainer, "the loss is no longer a finite number", min(int(self._first_bad), trainer.global_step))

    def _stop(self, trainer: pl.Trainer, what: str, step: int) -> None:
        good = self.folder.files() if self.folder is not None else []
        rate = trainer.optimizers[0].param_groups[0]["lr"]
        raise NotFiniteError(
            f"{what} in epoch {self._epoch}, step {step} (learning rate "
            f"{rate:.3g}): begin a new run with a lower --optimizer.learning_rate. "
            + (f"The last good checkpoint is {good[-1]}" if good else "No checkpoint had been written yet")
        )
