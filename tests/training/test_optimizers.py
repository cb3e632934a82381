from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from firstlight.errors import UsageError
from firstlight.networks import ResNet9, ResNet9Config, SpeedNet, SpeedNetConfig
from firstlight.recipes.config import MuonConfig, OptimizerConfig
from firstlight.training.lr_schedules import lr_schedules
from firstlight.training.optimizers import build_optimizer

SGD = OptimizerConfig(name="sgd", learning_rate=0.1, momentum=0.9, weight_decay=0.01)


def test_a_slower_head_equals_scaled_logits() -> None:
    """Page's head multiplies the logits by s: the same steps as a plain head at s * s times the rate."""
    s = 1 / 8
    torch.manual_seed(0)
    network = ResNet9(4, ResNet9Config(width=4)).double()
    scaled = ResNet9(4, ResNet9Config(width=4)).double()
    scaled.load_state_dict(network.state_dict())
    with torch.no_grad():
        scaled.head.weight /= s
    images, labels = torch.rand(8, 3, 16, 16, dtype=torch.float64), torch.arange(8) % 4
    slower = build_optimizer(replace(SGD, head_rate=s * s), network)
    plain = build_optimizer(SGD, scaled)
    for _ in range(3):
        for each, optimizer, factor in ((network, slower, 1.0), (scaled, plain, s)):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(factor * each(images), labels).backward()
            optimizer.step()
    torch.testing.assert_close(network.head.weight, s * scaled.head.weight)
    torch.testing.assert_close(network.prep.conv.weight, scaled.prep.conv.weight)


def test_one_parameter_group_unless_the_head_has_its_own_rate() -> None:
    network = ResNet9(4, ResNet9Config(width=4))
    assert len(build_optimizer(SGD, network).param_groups) == 1
    body, head = build_optimizer(replace(SGD, head_rate=0.5), network).param_groups
    assert (body["name"], body["lr"], head["name"], head["lr"]) == ("body", 0.1, "head", 0.05)
    assert sum(p.numel() for p in body["params"] + head["params"]) == sum(p.numel() for p in network.parameters())


def test_muon_updates_the_filters_and_sgd_the_other_parameters() -> None:
    network = SpeedNet(10, SpeedNetConfig(width=4))
    groups = {group["name"]: group for group in build_optimizer(MuonConfig(), network).param_groups}
    names = {parameter: name for name, parameter in network.named_parameters()}
    held = {name: {names[each] for each in group["params"]} for name, group in groups.items()}
    assert held["filters"] == {f"group{group}.conv{number}.weight" for group in (1, 2, 3) for number in (1, 2)}
    assert held["biases"] == {f"group{group}.norm{number}.bias" for group in (1, 2, 3) for number in (1, 2)}
    assert (held["head"], held["whitening"]) == ({"head.weight"}, {"whiten.conv.bias"})
    assert [group["kind"] for group in groups.values()] == ["muon", "sgd", "sgd", "sgd"]
    assert (groups["filters"]["lr"], groups["head"]["lr"], groups["biases"]["lr"]) == (0.24, 1340.0, 106.0)
    assert groups["head"]["lr"] * groups["head"]["weight_decay"] == pytest.approx(0.004)


def test_muon_trains_every_built_in_network() -> None:
    network = ResNet9(4, ResNet9Config(width=4))
    optimizer = build_optimizer(MuonConfig(), network)
    assert sum(len(group["params"]) for group in optimizer.param_groups) == len(list(network.parameters()))
    assert [group["name"] for group in optimizer.param_groups] == ["filters", "biases", "head"]


def test_the_whitening_bias_learns_in_the_first_epochs_only() -> None:
    network, how = SpeedNet(10, SpeedNetConfig(width=4)), MuonConfig(whitening_epochs=2.0)
    optimizer = build_optimizer(how, network)
    shares = lr_schedules(how, optimizer, num_steps=80, num_epochs=8)
    assert shares is not None
    assert [share(0) for share in shares] == [1, 1, 1, 1]
    assert [share(10) for share in shares] == pytest.approx([0.875, 0.875, 0.875, 0.5])
    assert [share(20) for share in shares] == pytest.approx([0.75, 0.75, 0.75, 0])
    assert [share(80) for share in shares] == [0, 0, 0, 0]


def test_a_constant_rate_has_no_schedule_and_one_cycle_is_the_same_for_all_groups() -> None:
    network = ResNet9(4, ResNet9Config(width=4))
    assert lr_schedules(SGD, build_optimizer(SGD, network), 10, 1) is None
    assert lr_schedules(SGD, build_optimizer(SGD, network), math.inf, -1) is None
    cycling = replace(SGD, schedule="one_cycle", head_rate=0.5)
    shares = lr_schedules(cycling, build_optimizer(cycling, network), 8, 1)
    assert shares is not None
    assert [share(2) for share in shares] == [1, 1]


@pytest.mark.parametrize("how", [replace(SGD, schedule="one_cycle"), MuonConfig()], ids=["one cycle", "muon"])
def test_a_falling_rate_needs_a_training_with_an_end(how: OptimizerConfig | MuonConfig) -> None:
    network = SpeedNet(4, SpeedNetConfig(width=4))
    with pytest.raises(UsageError, match="set max_epochs"):
        lr_schedules(how, build_optimizer(how, network), math.inf, -1)


def test_frozen_stages_are_parameter_groups_with_a_shorter_schedule() -> None:
    network, how = SpeedNet(10, SpeedNetConfig(width=4)), MuonConfig(frozen_stages=2, freeze_at=0.25)
    optimizer = build_optimizer(how, network)
    shares = lr_schedules(how, optimizer, num_steps=80, num_epochs=8)
    assert shares is not None
    at_20 = {g["name"]: course(20) for g, course in zip(optimizer.param_groups, shares, strict=True)}
    assert {name: share == 0 for name, share in at_20.items()} == {
        "filters": False,
        "biases": False,
        "head": False,
        "whitening": False,
        "early_filters": True,
        "early_biases": True,
    }
    groups = {group["name"]: group for group in optimizer.param_groups}
    early = [id(p) for p in groups["early_filters"]["params"] + groups["early_biases"]["params"]]
    assert early == [
        id(p)
        for layer in ("conv1.weight", "conv2.weight", "norm1.bias", "norm2.bias")
        for name, p in network.named_parameters()
        if name == f"group1.{layer}"
    ]
    assert groups["early_filters"]["kind"] == "muon"


def test_more_frozen_stages_than_the_network_has_are_refused() -> None:
    with pytest.raises(UsageError, match="frozen_stages is 5, but the network has 4 stages: whiten, group1"):
        build_optimizer(MuonConfig(frozen_stages=5), SpeedNet(10, SpeedNetConfig(width=4)))


@pytest.mark.parametrize("config", [MuonConfig(), OptimizerConfig(head_rate=0.1)], ids=["muon", "head rate"])
def test_a_network_without_a_named_head_has_one_learning_rate(config: MuonConfig | OptimizerConfig) -> None:
    network = torch.nn.Linear(3, 2)
    with pytest.raises(UsageError, match="Linear is not a StagedNetwork"):
        build_optimizer(config, network)
    (group,) = build_optimizer(OptimizerConfig(), network).param_groups
    assert group["params"] == [network.weight, network.bias]
