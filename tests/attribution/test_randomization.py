from __future__ import annotations

import pytest
import torch

from firstlight.attribution.randomization import rank_correlation, weight_randomization
from reference.spearman_by_loop import spearman

CLASSES = torch.arange(5)


def test_rank_correlation_equals_its_definition_with_ties():
    draw = torch.Generator().manual_seed(0)
    first = torch.randint(-2, 3, (20, 4, 4), generator=draw).float()
    second = first + torch.randint(-2, 3, (20, 4, 4), generator=draw)
    expected = [spearman(a.flatten().tolist(), b.flatten().tolist()) for a, b in zip(first, second, strict=True)]
    assert rank_correlation(first, second).tolist() == pytest.approx(expected, abs=1e-6)


def test_rank_correlation_with_a_flat_map_is_zero():
    assert rank_correlation(torch.zeros(1, 4, 4), torch.rand(1, 4, 4)).tolist() == [0.0]


def test_maps_change_and_the_cascade_reaches_every_part(network, images):
    found = weight_randomization(network, images, CLASSES, method="hires_cam", stage="layer3")
    assert found.shape == (7, 5)  # head, residual3, layer3, layer2, residual1, layer1, prep
    assert (found.abs() <= 1 + 1e-6).all()
    assert found.mean().abs() < 0.5


def test_maps_that_ignore_the_head_change_only_with_their_stage(network, images, monkeypatch):
    # A method that shows activations only, for any class: the failure that this test must detect.
    monkeypatch.setitem(__import__("firstlight").attribution.METHODS, "edges", lambda a, g: a.sum(dim=1))
    found = weight_randomization(network, images, CLASSES, method="edges", stage="layer1")
    torch.testing.assert_close(found[:5], torch.ones(5, 5))  # head, residual3, layer3, layer2, residual1
    assert found[5:].mean() < 0.9


def test_the_same_seed_gives_the_same_numbers(network, images):
    first, again, other = (weight_randomization(network, images, CLASSES, seed=seed) for seed in (3, 3, 4))
    assert first.equal(again)
    assert not first.equal(other)


@pytest.mark.parametrize("fails", [False, True])
def test_weights_statistics_and_the_callers_random_numbers_are_restored(network, images, monkeypatch, fails):
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    parameters = list(network.parameters())
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    if fails:
        monkeypatch.setattr(network.layer2.conv, "reset_parameters", lambda: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            weight_randomization(network, images, CLASSES)
    else:
        weight_randomization(network, images, CLASSES)
    assert torch.rand(3).equal(expected)
    assert all(tensor.equal(before[name]) for name, tensor in network.state_dict().items())
    assert all(a is b for a, b in zip(network.parameters(), parameters, strict=True))
    assert not any(module.training for module in network.modules())
