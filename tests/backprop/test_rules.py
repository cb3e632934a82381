"""The registry of backward rules, and the selection of images in a backward pass."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn

from firstlight.backprop import RULES, Backward, chain_vjps, has_hooks, have_rules, rule_for
from firstlight.backprop.rules import SEQUENCE_RULES, VJP, rule_for_sequence
from firstlight.layers.conv3x3 import Conv3x3
from firstlight.layers.gelu import Gelu
from firstlight.layers.residual import Residual


def test_a_rule_can_be_registered_for_a_layer() -> None:
    class Halved(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x / 2

    layers = [Halved(), Residual(nn.Sequential(Halved()))]
    assert not have_rules(layers)
    rule_for(Halved)(lambda module, x, needs_gradient: (module(x), lambda gradient, backward: gradient / 2))
    try:
        assert have_rules(layers)
        _, vjp = chain_vjps(layers, torch.ones(3, 1, 2, 2), needs_gradient=True)
        assert torch.equal(vjp(torch.ones(3, 1, 2, 2), Backward(None, 3)), torch.full((3, 1, 2, 2), 0.75))
    finally:
        del RULES[Halved]


class One(nn.Identity):
    """Layers whose classes are used in no other test."""


class Two(nn.Identity):
    """Another."""


class Other(Two):
    """A subclass of a known class, which may compute something else."""


def rules_taken(layers: list[nn.Module], declined: tuple[type[nn.Module], ...] | None = None) -> list[int]:
    """Return the number of layers of each rule that ran, with rules for two and three layers; one may decline."""
    taken: list[int] = []

    def rule(modules: Sequence[nn.Module], x: Tensor, needs_gradient: bool) -> tuple[Tensor, VJP] | None:
        if tuple(map(type, modules)) == declined:
            return None
        taken.append(len(modules))
        return x, lambda gradient, backward: gradient

    kinds: list[tuple[type[nn.Module], ...]] = [(One, Two, One), (One, Two), (Two, One)]
    for each in kinds:
        rule_for_sequence(*each)(rule)
    try:
        chain_vjps(layers, torch.ones(1, 1, 1, 1), needs_gradient=True)
    finally:
        for each in kinds:
            del SEQUENCE_RULES[each]
    return taken


def test_the_longest_sequence_of_layers_has_priority() -> None:
    assert rules_taken([One(), Two(), One(), Two()]) == [3]
    assert rules_taken([One(), Two(), One(), Two()], declined=(One, Two, One)) == [2, 2]
    assert rules_taken([One(), Two(), Two(), One()]) == [2, 2]
    assert rules_taken([Two(), One(), Two()]) == [2]
    assert rules_taken([One(), One()]) == []
    assert rules_taken([]) == []


def test_rules_for_sequences_match_exact_classes() -> None:
    assert rules_taken([One(), Other()]) == []


def test_every_kind_of_hook_is_detected() -> None:
    layer = nn.ReLU()
    assert not has_hooks(layer)
    for register in (
        layer.register_forward_hook,
        layer.register_forward_pre_hook,
        layer.register_full_backward_hook,
        layer.register_full_backward_pre_hook,
    ):
        handle = register(lambda *_: None)
        assert has_hooks(layer)
        handle.remove()
        assert not has_hooks(layer)


def test_a_container_has_rules_if_its_layers_have() -> None:
    assert have_rules([nn.Sequential(Conv3x3(3, 4), Residual(nn.Sequential(Gelu())))])
    assert not have_rules([nn.Sequential(Conv3x3(3, 4), Residual(nn.Sequential(nn.Sigmoid())))])
    assert not have_rules([nn.utils.parametrizations.weight_norm(nn.Conv2d(4, 6, 3))])


@pytest.mark.parametrize("kept", [torch.arange(6.0), torch.arange(24.0).reshape(6, 2, 2, 1)], ids=["numbers", "maps"])
def test_rows_are_selected_and_scattered(kept: Tensor) -> None:
    backward = Backward(torch.tensor([5, 0]), 6)
    assert torch.equal(backward.select(kept), kept[[5, 0]])
    back = backward.scatter(backward.select(kept))
    assert torch.equal(back[[5, 0]], kept[[5, 0]])
    assert not back[1:5].any()
