"""The learning-rate schedule of a recipe: one cycle for Adam and SGD, a linear decay to zero for Muon.

The recipe sets the peak rates; the curves are in `optim/lr_curves.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

from firstlight.errors import UsageError
from firstlight.optim import linear_decay, one_cycle
from firstlight.recipes.config import MuonConfig, OptimizerConfig, Recipe

LrSchedule = Callable[[int], float]  # from the step to the learning rate, as a share of its peak

WHITENING = "whitening"  # name of a parameter group
EARLY = "early_"  # prefix of the parameter groups that are frozen before the others


def lr_schedules(
    config: OptimizerConfig | MuonConfig, optimizer: torch.optim.Optimizer, num_steps: int | float, num_epochs: int
) -> list[LrSchedule] | None:
    """Return the learning-rate schedule of each parameter group; None if all rates are constant.

    Args:
        config: Optimizer of the recipe.
        optimizer: Optimizer from `build_optimizer`.
        num_steps: Steps of the whole training; infinite if only a callback or a signal ends it.
        num_epochs: Epochs of the whole training.

    Raises:
        UsageError: The schedule depends on the length of the training, and the training has no end.
    """
    if isinstance(config, OptimizerConfig) and config.schedule == "constant":
        return None
    if math.isinf(num_steps):
        raise UsageError(
            "the recipe's learning rate falls until the last step, but this training has no end: set max_epochs"
        )
    if isinstance(config, MuonConfig):
        shares = [_share_of_training(config, group["name"], num_epochs) for group in optimizer.param_groups]
        return [lambda step, end=share * num_steps: linear_decay(step, end) for share in shares]  # type: ignore[misc]
    return [lambda step: one_cycle(step, int(num_steps))] * len(optimizer.param_groups)


def num_epochs(max_epochs: int | None, recipe: Recipe) -> int:
    """Return the epochs of a training: the trainer's `max_epochs`, or the recipe's where the trainer has no limit."""
    return max_epochs if max_epochs and max_epochs > 0 else recipe.max_epochs


def _share_of_training(config: MuonConfig, name: str, num_epochs: int) -> float:
    """Return the share of the training after which a parameter group is frozen."""
    if name == WHITENING:
        return min(1.0, config.whitening_epochs / num_epochs)
    return config.freeze_at if name.startswith(EARLY) else 1.0
