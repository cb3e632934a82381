"""Build the optimizer of a recipe, with its parameter groups."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import torch
from torch import nn

from firstlight.compiled import uncompiled
from firstlight.errors import UsageError
from firstlight.layers.whitening import PatchWhitening
from firstlight.networks.staged import StagedNetwork
from firstlight.optim import Muon
from firstlight.optim.muon import Group
from firstlight.recipes.config import MuonConfig, OptimizerConfig
from firstlight.training.lr_schedules import EARLY, WHITENING


def build_optimizer(
    config: OptimizerConfig | MuonConfig,
    network: nn.Module,
    matmul_dtype: torch.dtype | None = None,
    body_rate: float = 1.0,
) -> torch.optim.Optimizer:
    """Build the recipe's optimizer for all parameters of the network that require a gradient.

    Args:
        config: Optimizer of the recipe.
        network: Network to train.
        matmul_dtype: Type of Muon's matrix products; see `Muon`.
        body_rate: Factor of the learning rates of all layers but the head; below 1 for weights that are trained.

    Raises:
        UsageError: The head needs a learning rate of its own, and the network does not name its head.
    """
    if isinstance(config, MuonConfig):
        return Muon(_muon_groups(config, _staged(network), body_rate), matmul_dtype=matmul_dtype)
    has_one_rate = config.head_rate == body_rate == 1
    groups = [{"params": _trainable(network)}] if has_one_rate else _body_and_head(config, _staged(network), body_rate)
    if config.name == "adam":
        return torch.optim.Adam(groups, lr=config.learning_rate, weight_decay=config.weight_decay)
    return torch.optim.SGD(
        groups,
        lr=config.learning_rate,
        momentum=config.momentum,
        weight_decay=config.weight_decay,
        nesterov=config.momentum > 0,
    )


def _staged(network: nn.Module) -> StagedNetwork:
    """Return the uncompiled network.

    Raises:
        UsageError: It is not a `StagedNetwork`, so that its head, which needs its own learning rate, is not known.
    """
    network = uncompiled(network)
    if not isinstance(network, StagedNetwork):
        raise UsageError(
            f"{type(network).__name__} is not a StagedNetwork, so its head is not known: choose an optimizer with one "
            "learning rate for all layers (optimizer.name adam or sgd, optimizer.head_rate 1)"
        )
    return network


def _trainable(module: nn.Module) -> list[nn.Parameter]:
    return [parameter for parameter in module.parameters() if parameter.requires_grad]


def _body_and_head(config: OptimizerConfig, network: StagedNetwork, body_rate: float) -> list[dict[str, Any]]:
    """Split the parameters into two groups; the head has its own learning rate and weight decay."""
    head = _trainable(network.head)
    body = [p for p in _trainable(network) if all(p is not other for other in head)]
    rates = {"lr": config.learning_rate * config.head_rate, "weight_decay": config.weight_decay / config.head_rate}
    groups: list[dict[str, Any]] = [
        {"name": "body", "params": body, "lr": config.learning_rate * body_rate},
        {"name": "head", "params": head} | rates,
    ]
    return [group for group in groups if group["params"]]


def _muon_groups(config: MuonConfig, network: StagedNetwork, body_rate: float) -> list[Group]:
    """Group the parameters: Muon updates the filters; SGD updates the head, the biases, batch norm and the whitening.

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
        rate = config.learning_rate * body_rate
        return Group(name=name, kind="muon", params=members[name], lr=rate, momentum=config.momentum)

    bias_rate = config.bias_rate * body_rate
    groups = [
        by_muon("filters"),
        by_sgd("biases", members["biases"], bias_rate),
        by_sgd("head", _trainable(network.head), config.head_rate),
        by_sgd(WHITENING, members[WHITENING], bias_rate),
        by_muon(EARLY + "filters"),
        by_sgd(EARLY + "biases", members[EARLY + "biases"], bias_rate),
    ]
    return [group for group in groups if group["params"]]
