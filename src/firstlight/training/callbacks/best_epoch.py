"""Stop a training whose validation no longer gains, and keep the weights of its best epoch."""

from __future__ import annotations

import logging
import math
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities import rank_zero_only
from torch import Tensor

from firstlight.errors import UsageError
from firstlight.recipes.config import Recipe

_log = logging.getLogger("firstlight")


class BestEpoch(pl.Callback):
    """Compares the validations of a training: stops after epochs without gain, and keeps the best epoch's weights.

    The weights are those that were validated: with averaging, the averaged ones. This callback must therefore come
    before `EMAWeightAveraging`, which exchanges the weights at the end of a validation. Its state is part of every
    checkpoint, so that a resumed training stops at the same epoch and keeps the same weights.

    Args:
        recipe: Recipe with `stop_after`, `keep` and `judge_by`.

    Attributes:
        metrics: Validation metrics of the best epoch, and its number as `kept_epoch`, counted from 1; empty unless its
            weights are kept.
    """

    def __init__(self, recipe: Recipe) -> None:
        self._stop_after, self._keeps_best, self._metric = recipe.stop_after, recipe.keep == "best", recipe.judge_by
        self.metrics: dict[str, float] = {}
        self._best: float | None = None
        self._best_epoch = 0
        self._weights: dict[str, Tensor] = {}  # of the best validation so far
        self._validated: dict[str, Tensor] = {}  # of the last validation

    @staticmethod
    def of(trainer: pl.Trainer) -> BestEpoch | None:
        """Return the callback of a trainer; None if its recipe needs none."""
        callbacks: list[pl.Callback] = getattr(trainer, "callbacks", [])
        return next((each for each in callbacks if isinstance(each, BestEpoch)), None)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Check that there are validation images.

        Raises:
            UsageError: There are none.
        """
        if not sum(int(count) for count in trainer.num_val_batches if not math.isinf(count)):
            raise UsageError("stop_after and keep=best need validation images: set num_val")

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Copy the weights while they are those that were validated."""
        if self._keeps_best and _is_of_training(trainer):
            self._validated = {name: each.detach().clone() for name, each in _weights(pl_module).items()}

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Compare the validation with the best one so far, and stop after too many epochs without gain."""
        if not _is_of_training(trainer) or self._metric not in trainer.callback_metrics:
            return
        value = float(trainer.callback_metrics[self._metric])
        if self._is_gain(value):
            self._best, self._best_epoch = value, trainer.current_epoch
            if self._keeps_best:
                logged = trainer.callback_metrics
                self._weights = self._validated
                self.metrics = {name: float(logged[name]) for name in ("val_loss", "val_acc") if name in logged}
                self.metrics["kept_epoch"] = trainer.current_epoch + 1
        elif self._stop_after and trainer.current_epoch - self._best_epoch >= self._stop_after:
            if not trainer.should_stop:
                _log_once(f"stopped after epoch {trainer.current_epoch + 1}: {self._metric} {self._since()}")
            trainer.should_stop = True
        self._validated = {}

    def restore(self, module: pl.LightningModule) -> None:
        """Give the module the weights of the best epoch, after averaged weights have replaced the trained ones."""
        if self._weights:
            with torch.no_grad():
                for name, each in _weights(module).items():
                    each.copy_(self._weights[name])
            _log_once(f"kept the weights of epoch {self._best_epoch + 1}: {self._metric} {self._best:.4f}")

    def state_dict(self) -> dict[str, Any]:
        """Return the best validation so far, for a checkpoint."""
        return {
            "best": self._best,
            "best_epoch": self._best_epoch,
            "metrics": self.metrics,
            "weights": self._weights,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the best validation of the training that was interrupted."""
        self._best, self._best_epoch = state_dict["best"], state_dict["best_epoch"]
        self.metrics, self._weights = dict(state_dict["metrics"]), dict(state_dict["weights"])

    def _is_gain(self, value: float) -> bool:
        if math.isnan(value):
            return False
        return self._best is None or (value > self._best if self._metric == "val_acc" else value < self._best)

    def _since(self) -> str:
        return f"has not improved on {self._best:.4f} since epoch {self._best_epoch + 1}"


def _weights(module: pl.LightningModule) -> dict[str, Tensor]:
    """Return the parameters and buffers of the network by name."""
    network: Any = module.network
    return dict(network.named_parameters()) | dict(network.named_buffers())


def _is_of_training(trainer: pl.Trainer) -> bool:
    return trainer.state.fn == "fit" and not trainer.sanity_checking


@rank_zero_only
def _log_once(line: str) -> None:
    _log.info(line)
