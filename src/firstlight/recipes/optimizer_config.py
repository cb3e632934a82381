"""Configurations of the optimizers. Imports no PyTorch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

from firstlight.errors import UsageError
from firstlight.recipes.nested import check_field


@dataclass(frozen=True)
class OptimizerConfig:
    """Adam, or SGD with Nesterov momentum, with a constant or one-cycle learning-rate schedule.

    Args:
        name: "adam" (Kingma and Ba 2015, arXiv 1412.6980), or "sgd" with Nesterov momentum.
        learning_rate: Peak learning rate.
        head_rate: Learning rate of the head, as a multiple of `learning_rate`. The head's weight decay is divided by
            this multiple, so that the product of rate and decay stays the same.
        schedule: "constant", or "one_cycle": a rise to the peak, then a cosine down to zero.
        momentum: Momentum of SGD; Adam ignores it.
        weight_decay: L2 penalty: this multiple of the weight is added to the gradient.
    """

    name: Literal["adam", "sgd"] = "adam"
    learning_rate: float = 0.001
    head_rate: float = 1.0
    schedule: Literal["constant", "one_cycle"] = "constant"
    momentum: float = 0.9
    weight_decay: float = 0.0

    def check(self) -> None:
        """Raise UsageError for a value that cannot work."""
        _above_zero(self, "learning_rate", "head_rate")
        _not_negative(self, "momentum", "weight_decay")
        for name in ("name", "schedule"):
            check_field(OptimizerConfig, name, getattr(self, name), prefix="optimizer.")


@dataclass(frozen=True)
class MuonConfig:
    """Muon for the convolution filters, and SGD with Nesterov momentum for head, biases and batch norm's scales.

    All learning rates fall linearly from the first step to zero: those of the whitening layer and of the frozen stages
    as the fields below set, all others at the last step.

    Args:
        name: "muon".
        learning_rate: Initial learning rate of the filters.
        momentum: Momentum of the filters.
        head_rate: Initial learning rate of the head, for the mean of the loss over the batch.
        bias_rate: Initial learning rate of the biases, for the mean of the loss over the batch.
        sgd_momentum: Momentum of the head and the biases.
        weight_decay: Share by which weight decay shrinks the parameters of SGD in a step at the initial learning rate,
            apart from momentum.
        whitening_epochs: Number of epochs in which the bias of the whitening layer learns.
        frozen_stages: Number of the network's first stages that stop learning early, which makes the remaining steps
            cheaper. (Brock et al. 2017, "FreezeOut", arXiv 1706.04983.)
        freeze_at: Share of the training at which the learning rates of the frozen stages reach zero.
    """

    name: Literal["muon"] = "muon"
    learning_rate: float = 0.24
    momentum: float = 0.6
    head_rate: float = 1340.0
    bias_rate: float = 106.0
    sgd_momentum: float = 0.85
    weight_decay: float = 0.004
    whitening_epochs: float = 3.0
    frozen_stages: int = 0
    freeze_at: float = 1.0

    def check(self) -> None:
        """Raise UsageError for a value that cannot work."""
        _above_zero(self, "learning_rate", "head_rate", "bias_rate")
        _not_negative(self, "momentum", "sgd_momentum", "weight_decay", "whitening_epochs", "frozen_stages")
        if not 0 < self.freeze_at <= 1:
            raise UsageError(f"optimizer.freeze_at must be above 0 and at most 1, not {self.freeze_at}")


def _above_zero(config: Any, *names: str) -> None:
    for name in names:
        if not 0 < getattr(config, name) < math.inf:
            raise UsageError(f"optimizer.{name} must be above 0, not {getattr(config, name)}")


def _not_negative(config: Any, *names: str) -> None:
    for name in names:
        if not 0 <= getattr(config, name) < math.inf:
            raise UsageError(f"optimizer.{name} must be 0 or more, not {getattr(config, name)}")
