from __future__ import annotations

import importlib

import pytest
import torch
from torch import Tensor, nn

from firstlight.attribution import METHODS, explain
from firstlight.attribution.closed_form import PooledHead, find_pooled_head

explainer_module = importlib.import_module("firstlight.attribution.cam_explainer")

POOLS = {
    "adaptive max": nn.AdaptiveMaxPool2d(1),
    "max": nn.MaxPool2d(4),
    "adaptive mean": nn.AdaptiveAvgPool2d(1),
}


def by_autograd(network: nn.Module, images: Tensor, monkeypatch: pytest.MonkeyPatch, **options) -> Tensor:
    with monkeypatch.context() as patch:
        patch.setattr(explainer_module, "find_pooled_head", lambda *_: None)
        return explain(network, images, **options).maps


def tied(seed: int = 0) -> Tensor:
    """Activations with few distinct values, so that nearly every channel has several largest cells."""
    draw = torch.Generator().manual_seed(seed)
    activations = torch.randint(-1, 2, (6, 16, 4, 4), generator=draw).float()
    winners = (activations == activations.amax(dim=(2, 3), keepdim=True)).sum(dim=(2, 3))
    assert (winners > 1).float().mean() > 0.9
    return activations


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("pool", POOLS.values(), ids=POOLS)
def test_gradients_equal_autograd_with_ties(pool, layout):
    head = nn.Linear(16, 10)
    activations = tied().to(memory_format=layout).requires_grad_()
    direction = torch.randn(6, 10)
    score = (head(pool(activations).flatten(1)) * direction).sum()
    (expected,) = torch.autograd.grad(score, activations)
    with torch.no_grad():
        found = PooledHead(pool, head).gradients(activations.detach(), direction)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("target", ["predicted", "contrast"])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("pool", POOLS.values(), ids=POOLS)
def test_maps_equal_autograd(network, images, monkeypatch, pool, method, target):
    network.pool = pool
    options = {"method": method, "target": target, "labels": torch.arange(5)}
    expected = by_autograd(network, images, monkeypatch, **options)
    torch.testing.assert_close(explain(network, images, **options).maps, expected, rtol=0, atol=1e-6)


def test_ties_are_common_in_resnet9_and_are_broken_as_in_autograd(network, monkeypatch):
    flat = torch.rand(8, 3, 1, 1).expand(8, 3, 32, 32)  # an even image: whole regions of the last map are equal
    with torch.no_grad():
        features = flat
        for part in (network.normalize, *(network.get_submodule(stage) for stage in network.stages)):
            features = part(features)
    is_largest = features == features.amax(dim=(2, 3), keepdim=True)
    assert (is_largest.sum(dim=(2, 3)) > 1).any()
    for method in METHODS:
        expected = by_autograd(network, flat, monkeypatch, method=method)
        torch.testing.assert_close(explain(network, flat, method=method).maps, expected, rtol=0, atol=1e-6)


def test_grad_cam_weights_are_the_heads_divided_by_the_cells():
    head = nn.Linear(16, 10, bias=False)
    direction = torch.eye(10)[:6]
    gradients = PooledHead(nn.AdaptiveMaxPool2d(1), head).gradients(tied(), direction)
    torch.testing.assert_close(gradients.mean(dim=(2, 3)), head.weight[:6] / 16)


def test_the_closed_form_is_used_only_where_it_applies(network, images, monkeypatch):
    calls = []
    plain = torch.autograd.grad
    monkeypatch.setattr(torch.autograd, "grad", lambda *args, **options: calls.append(1) or plain(*args, **options))
    explain(network, images, stage="residual3")
    assert not calls
    explain(network, images, stage="layer3")
    assert calls


@pytest.mark.parametrize("more", ["scale", "layer", "bias"])
def test_a_network_with_further_operations_after_the_stage_uses_autograd(network, images, monkeypatch, more):
    plain = network.forward

    def forward(x: Tensor) -> Tensor:
        if more == "layer":
            return network.head(network.features(x) ** 2)
        return plain(x) * 0.125 if more == "scale" else plain(x) + 1

    network.forward = forward
    for method in METHODS:
        expected = by_autograd(network, images, monkeypatch, method=method)
        found = explain(network, images, method=method, batch_size=2)
        torch.testing.assert_close(found.maps, expected, rtol=1e-5, atol=1e-6)


def test_no_closed_form_without_pool_and_head(network):
    assert find_pooled_head(network, "residual3") is not None
    assert find_pooled_head(network, "residual1") is None
    assert find_pooled_head(nn.Sequential(nn.Conv2d(3, 4, 3)), "0") is None
    network.head = nn.Sequential(network.head)
    assert find_pooled_head(network, "residual3") is None


def test_no_closed_form_for_a_pool_with_several_cells(network):
    head = PooledHead(nn.MaxPool2d(2), network.head)
    assert not head.reproduces(torch.rand(1, 64, 4, 4), torch.rand(1, 10))
