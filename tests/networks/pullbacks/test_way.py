"""Which modules are known, and what a backward pass knows of its images."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from firstlight.networks.conv3x3 import Conv3x3
from firstlight.networks.gelu import Gelu
from firstlight.networks.pullbacks import RULES, Backward, are_known, chained, rule_for
from firstlight.networks.residual import Residual


def test_layers_can_be_given_a_rule() -> None:
    class Halved(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x / 2

    layers = [Halved(), Residual(nn.Sequential(Halved()))]
    assert not are_known(layers)
    rule_for(Halved)(lambda module, x, needs_gradient: (module(x), lambda gradient, backward: gradient / 2))
    try:
        assert are_known(layers)
        _, pullback = chained(layers, torch.ones(3, 1, 2, 2), needs_gradient=True)
        assert torch.equal(pullback(torch.ones(3, 1, 2, 2), Backward(None, 3)), torch.full((3, 1, 2, 2), 0.75))
    finally:
        del RULES[Halved]


def test_what_is_known_depends_on_what_is_within() -> None:
    assert are_known([nn.Sequential(Conv3x3(3, 4), Residual(nn.Sequential(Gelu())))])
    assert not are_known([nn.Sequential(Conv3x3(3, 4), Residual(nn.Sequential(nn.Sigmoid())))])
    assert not are_known([nn.utils.parametrizations.weight_norm(nn.Conv2d(4, 6, 3))])


@pytest.mark.parametrize("kept", [torch.arange(6.0), torch.arange(24.0).reshape(6, 2, 2, 1)], ids=["numbers", "maps"])
def test_rows_are_taken_and_put_back(kept: Tensor) -> None:
    backward = Backward(torch.tensor([5, 0]), 6)
    assert torch.equal(backward.of(kept), kept[[5, 0]])
    back = backward.among_all(backward.of(kept))
    assert torch.equal(back[[5, 0]], kept[[5, 0]])
    assert not back[1:5].any()
