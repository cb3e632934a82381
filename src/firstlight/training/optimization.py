"""Build the optimizer of a recipe, and its learning-rate schedules."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from firstlight.compiled import uncompiled
from firstlight.errors import UsageError
from firstlight.layers.whitening import PatchWhitening
from firstlight.networks.staged import StagedNetwork
from firstlight.optim import Muon, linear_decay, one_cycle
from firstlight.optim.muon import Group
from firstlight.recipes.config import MuonConfig, OptimizerConfig, Recipe

LrSchedule = Callable[[int], float]  # from the step to the learning rate, as a share of its peak

WHITENING = "whitening"
EARLY = "early_"  # prefix of the parameter groups that are frozen before the others


def build_optimizer(
    config: OptimizerConfig | MuonConfig, network: nn.Module, matmul_dtype: torch.dtype | None = None
) -> torch.optim.Optimizer:
    """Build the recipe's optimizer for all parameters of the network that require a gradient.

    Args:
        config: Optimizer of the recipe.
        network: Network to train.
        matmul_dtype: Type of Muon's matrix products; see `Muon`.

    Raises:
        UsageError: The head needs a learning rate of its own, and the network does not name its head.
    """
    if isinstance(config, MuonConfig):
        return Muon(_muon_groups(config, _staged(network)), matmul_dtype=matmul_dtype)
    groups = [{"params": _trainable(network)}] if config.head_rate == 1 else _body_and_head(config, _staged(network))
    if config.name == "adam":
        return torch.optim.Adam(groups, lr=config.learning_rate, weight_decay=config.weight_decay)
    return torch.optim.SGD(
        groups,
        lr=config.learning_rate,
        momentum=config.momentum,
        weight_decay=config.weight_decay,
        nesterov=config.momentum > 0,
    )


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


def _staged(network: nn.Module) -> StagedNetwork:
    """Return the network, or refuse one that does not name its head, which needs a learning rate of its own."""
    network = uncompiled(network)
    if not isinstance(network, StagedNetwork):
        raise UsageError(
            f"{type(network).__name__} is no StagedNetwork, so its head is not known: choose an optimizer with one "
            "learning rate for all layers (optimizer.name adam or sgd, optimizer.head_rate 1)"
        )
    return network


def _trainable(module: nn.Module) -> list[nn.Parameter]:
    return [parameter for parameter in module.parameters() if parameter.requires_grad]


def _body_and_head(config: OptimizerConfig, network: StagedNetwork) -> list[dict[str, Any]]:
    """Split the parameters into two groups; the head has its own learning rate and weight decay."""
    head = _trainable(network.head)
    body = [p for p in _trainable(network) if all(p is not other for other in head)]
    rates = {"lr": config.learning_rate * config.head_rate, "weight_decay": config.weight_decay / config.head_rate}
    return [{"name": "body", "params": body}, {"name": "head", "params": head} | rates]


def _share_of_training(config: MuonConfig, name: str, num_epochs: int) -> float:
    """Return the share of the training after which a parameter group is frozen."""
    if name == WHITENING:
        return min(1.0, config.whitening_epochs / num_epochs)
    return config.freeze_at if name.startswith(EARLY) else 1.0


def _muon_groups(config: MuonConfig, network: StagedNetwork) -> list[Group]:
    """Group the parameters: Muon updates the filters; SGD the head, the biases, batch norm's scales and the whitening.

    Filters and biases of the stages that are frozen early have groups of their own.
    """
    if config.frozen_stages > len(network.stages):
        raise UsageError(
            f"optimizer.frozen_stages is {config.frozen_stages}, but the network has {len(network.stages)} stages: "
            f"{', '.join(network.stages)}"
        )
    frozen = [network.get_submodule(name) for name in network.stages[: config.frozen_stages]]
    early = {module for stage in frozen for module in stage.modules()}
    members: dict[str, list[nn.Parameter]] = defaultdict(list)
    for module in network.modules():
        if module is network.head:
            continue
        for parameter in module.parameters(recurse=False):
            if parameter.requires_grad:
                name = (EARLY if module in early else "") + ("filters" if parameter.ndim > 1 else "biases")
                members[WHITENING if isinstance(module, PatchWhitening) else name].append(parameter)

    def by_sgd(name: str, parameters: list[nn.Parameter], rate: float) -> Group:
        decay = config.weight_decay / rate  # SGD multiplies the decay by the rate again
        momentum = config.sgd_momentum
        return Group(name=name, kind="sgd", params=parameters, lr=rate, weight_decay=decay, momentum=momentum)

    def by_muon(name: str) -> Group:
        return Group(name=name, kind="muon", params=members[name], lr=config.learning_rate, momentum=config.momentum)

    groups = [
        by_muon("filters"),
        by_sgd("biases", members["biases"], config.bias_rate),
        by_sgd("head", _trainable(network.head), config.head_rate),
        by_sgd(WHITENING, members[WHITENING], config.bias_rate),
        by_muon(EARLY + "filters"),
        by_sgd(EARLY + "biases", members[EARLY + "biases"], config.bias_rate),
    ]
    return [group for group in groups if group["params"]]
