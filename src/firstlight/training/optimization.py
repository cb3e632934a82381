"""From the recipe to an optimizer over a network's parameters, and the course of its learning rates."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from firstlight.errors import UsageError
from firstlight.layers.whitening import PatchWhitening
from firstlight.networks.staged import StagedNetwork
from firstlight.optim import Muon, linear_decay, one_cycle
from firstlight.optim.muon import Group
from firstlight.recipes.config import MuonConfig, OptimizerConfig

Course = Callable[[int], float]  # the share of its peak that a learning rate has at a step

WHITENING = "whitening"
EARLY = "early_"  # begins the names of the groups that stop learning before the others


def build_optimizer(
    how: OptimizerConfig | MuonConfig, network: StagedNetwork, matmul_dtype: torch.dtype | None = None
) -> torch.optim.Optimizer:
    """Return the optimizer that the recipe names, over all the network's parameters that learn.

    Args:
        how: as the recipe has it.
        network: what learns.
        matmul_dtype: see `Muon`.
    """
    if isinstance(how, MuonConfig):
        return Muon(_muon_groups(how, network), matmul_dtype=matmul_dtype)
    groups = [{"params": _learning(network)}] if how.head_rate == 1 else _body_and_head(how, network)
    if how.name == "adam":
        return torch.optim.Adam(groups, lr=how.learning_rate, weight_decay=how.weight_decay)
    return torch.optim.SGD(
        groups,
        lr=how.learning_rate,
        momentum=how.momentum,
        weight_decay=how.weight_decay,
        nesterov=how.momentum > 0,
    )


def courses(
    how: OptimizerConfig | MuonConfig, optimizer: torch.optim.Optimizer, num_steps: int | float, num_epochs: int
) -> list[Course] | None:
    """Return the course of the learning rate of each of the optimizer's groups; None if all stay as they are.

    Args:
        how: as the recipe has it.
        optimizer: as `build_optimizer` made it.
        num_steps: of the whole training; infinite for one that only a callback or a signal ends.
        num_epochs: likewise.

    Raises:
        UsageError: the rate follows the length of a training that has no end.
    """
    if isinstance(how, OptimizerConfig) and how.schedule == "constant":
        return None
    if math.isinf(num_steps):
        raise UsageError("the recipe's learning rate falls until the end, and this training has none: set max_epochs")
    if isinstance(how, MuonConfig):
        shares = [_share_of_learning(how, group["name"], num_epochs) for group in optimizer.param_groups]
        return [lambda step, end=share * num_steps: linear_decay(step, end) for share in shares]  # type: ignore[misc]
    return [lambda step: one_cycle(step, int(num_steps))] * len(optimizer.param_groups)


def _learning(module: nn.Module) -> list[nn.Parameter]:
    return [each for each in module.parameters() if each.requires_grad]


def _body_and_head(how: OptimizerConfig, network: StagedNetwork) -> list[dict[str, Any]]:
    """Split the parameters into two named groups, the head's with its own rate and weight decay."""
    head = _learning(network.head)
    body = [each for each in _learning(network) if all(each is not other for other in head)]
    rates = {"lr": how.learning_rate * how.head_rate, "weight_decay": how.weight_decay / how.head_rate}
    return [{"name": "body", "params": body}, {"name": "head", "params": head} | rates]


def _share_of_learning(how: MuonConfig, name: str, num_epochs: int) -> float:
    """Return the share of the training in which a group learns."""
    if name == WHITENING:
        return min(1.0, how.whitening_epochs / num_epochs)
    return how.freeze_at if name.startswith(EARLY) else 1.0


def _muon_groups(how: MuonConfig, network: StagedNetwork) -> list[Group]:
    """Filters for Muon; head, biases (and batch norm's scales), and the whitening layer's bias for SGD.

    Filters and biases of the stages that freeze are groups of their own.
    """
    if how.frozen_stages > len(network.stages):
        raise UsageError(
            f"optimizer.frozen_stages is {how.frozen_stages}, but the network has {len(network.stages)} stages: "
            f"{', '.join(network.stages)}"
        )
    frozen = [network.get_submodule(name) for name in network.stages[: how.frozen_stages]]
    early = {module for stage in frozen for module in stage.modules()}
    members: dict[str, list[nn.Parameter]] = defaultdict(list)
    for module in network.modules():
        if module is network.head:
            continue
        for each in module.parameters(recurse=False):
            if each.requires_grad:
                name = (EARLY if module in early else "") + ("filters" if each.ndim > 1 else "biases")
                members[WHITENING if isinstance(module, PatchWhitening) else name].append(each)

    def by_sgd(name: str, parameters: list[nn.Parameter], rate: float) -> Group:
        decay = how.weight_decay / rate  # what is taken off in a step is the rate times this
        momentum = how.sgd_momentum
        return Group(name=name, kind="sgd", params=parameters, lr=rate, weight_decay=decay, momentum=momentum)

    def by_muon(name: str) -> Group:
        return Group(name=name, kind="muon", params=members[name], lr=how.learning_rate, momentum=how.momentum)

    groups = [
        by_muon("filters"),
        by_sgd("biases", members["biases"], how.bias_rate),
        by_sgd("head", _learning(network.head), how.head_rate),
        by_sgd(WHITENING, members[WHITENING], how.bias_rate),
        by_muon(EARLY + "filters"),
        by_sgd(EARLY + "biases", members[EARLY + "biases"], how.bias_rate),
    ]
    return [group for group in groups if group["params"]]
