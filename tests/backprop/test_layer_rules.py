"""Properties of single rules; test_selective.py tests the backward pass through all of them."""

from __future__ import annotations

import copy
from collections.abc import Callable
from types import ModuleType
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from firstlight.backprop import Backward, chain_vjps, forward_with_vjp
from firstlight.layers import batch_norm
from firstlight.layers.batch_norm import BatchNorm
from firstlight.layers.conv3x3 import Conv3x3
from firstlight.layers.conv3x3.amx import AmxConvolution
from firstlight.layers.gelu import Gelu
from firstlight.layers.max_pool import MaxPool2x2


@pytest.mark.parametrize("side", [8, 7])
@pytest.mark.parametrize("indices", [None, [4, 1]])
def test_max_pooling_in_plain_arithmetic_equals_pytorch(
    side: int, indices: list[int] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The variant for compilers, on maps of few values, so that most windows have several maxima."""
    draw = torch.Generator().manual_seed(0)
    maps = torch.randint(0, 3, (6, 5, side, side), generator=draw).double()
    maps = maps.contiguous(memory_format=torch.channels_last).requires_grad_()
    expected = F.max_pool2d(maps, 2)
    gradient = torch.randn(expected.shape, dtype=torch.float64, generator=draw)
    chosen = torch.tensor(range(6) if indices is None else indices)
    (of_maps,) = torch.autograd.grad(expected, maps, torch.zeros_like(gradient).index_copy(0, chosen, gradient[chosen]))

    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    found, vjp = forward_with_vjp(MaxPool2x2(), maps.detach(), True)
    assert torch.equal(found, expected)
    back = vjp(gradient[chosen], Backward(None if indices is None else chosen, 6))
    assert torch.equal(back, of_maps[chosen])
    assert back.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("indices", [None, [17, 3, 4]])
@pytest.mark.parametrize("pools", [True, False])
def test_an_amx_convolution_fuses_pooling_and_reads_selected_images_in_place(
    pools: bool, indices: list[int] | None, tiles: AmxConvolution, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Compare with PyTorch's layers on few values, which are exact in bfloat16 except for the order of sums."""
    torch.manual_seed(0)
    layers: list[Any] = [Conv3x3(16, 24), *[MaxPool2x2()] * pools]
    with torch.no_grad():
        layers[0].weight.copy_(torch.randint(-1, 2, layers[0].weight.shape))
    maps = torch.randint(-2, 3, (20, 16, 5, 4)).bfloat16().contiguous(memory_format=torch.channels_last)
    chosen = torch.tensor(range(20) if indices is None else indices)
    pooled: list[int] = []
    to_train = tiles.convolve_to_train
    monkeypatch.setattr(tiles, "convolve_to_train", lambda *a, **kw: (pooled.append(1), to_train(*a, **kw))[1])
    results = []
    for fast in (True, False):
        layers[0].fast = fast
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            output, vjp = chain_vjps(layers, maps, True)
            gradient = torch.randint(-2, 3, output.shape).to(output.dtype)[chosen] if fast else gradient
            backward = Backward(None if indices is None else chosen, 20)
            of_maps = vjp(gradient, backward)
        assert of_maps is not None
        results.append((output, of_maps, backward.gradients[layers[0].weight]))
    assert len(pooled) == pools
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, rtol=2**-7, atol=1e-3)


RUNS: dict[str, Callable[[], list[nn.Module]]] = {
    "all": lambda: [Conv3x3(16, 24), MaxPool2x2(), BatchNorm(24), Gelu()],
    "no pool": lambda: [Conv3x3(16, 24), BatchNorm(24), Gelu()],
    "no GELU": lambda: [Conv3x3(16, 24), MaxPool2x2(), BatchNorm(24)],
    "norm alone": lambda: [Conv3x3(16, 24), BatchNorm(24)],
    "ReLU": lambda: [Conv3x3(16, 24), nn.ReLU(), BatchNorm(24)],
    "pool and ReLU": lambda: [Conv3x3(16, 24), MaxPool2x2(), nn.ReLU(), BatchNorm(24)],
}


@pytest.mark.parametrize("is_compiled", [True, False])
@pytest.mark.parametrize("indices", [None, [17, 3, 4]])
@pytest.mark.parametrize("name", list(RUNS))
def test_batch_norm_after_an_amx_convolution_needs_no_pass_for_its_moments(
    name: str,
    indices: list[int] | None,
    is_compiled: bool,
    tiles: AmxConvolution,
    always_compiled: Callable[[ModuleType], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Compare with separate layers and PyTorch's convolution on few values, which are exact in bfloat16."""
    if is_compiled:
        always_compiled(batch_norm)
    torch.manual_seed(0)
    layers, chosen = RUNS[name](), torch.tensor(range(20) if indices is None else indices)
    with torch.no_grad():
        weight = cast(Tensor, layers[0].weight)
        weight.copy_(torch.randint(-1, 2, weight.shape))
    maps = torch.randint(-2, 3, (20, 16, 6, 4)).bfloat16().contiguous(memory_format=torch.channels_last)
    twin = [each for layer in copy.deepcopy(layers) for each in (layer, nn.Identity())]  # not a run
    cast(Conv3x3, twin[0]).fast = False
    passes: list[int] = []
    compute_moments = batch_norm.compute_moments
    monkeypatch.setattr(batch_norm, "compute_moments", lambda maps: (passes.append(1), compute_moments(maps))[1])
    results = []
    for some in (layers, twin):
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            output, vjp = chain_vjps(some, maps, True)
            if not results:
                assert not passes
                gradient = torch.randn(output.shape).to(output.dtype)[chosen]
            backward = Backward(None if indices is None else chosen, 20)
            of_maps = vjp(gradient, backward)
        assert of_maps is not None
        named = {f"{i}.{key}": each for i, layer in enumerate(some) for key, each in layer.named_parameters()}
        norm = next(layer for layer in some if isinstance(layer, BatchNorm))
        statistics = [cast(Tensor, each).float() for each in norm.buffers()]
        results.append([output, of_maps, *(backward.gradients[each] for each in named.values()), *statistics])
    assert len(results[0]) == len(results[1]) == 2 + 3 + 3
    for one, other in zip(*results, strict=True):
        error = (one.double() - other.double()).norm() / other.double().norm()
        assert error <= 0.02, error


def test_a_frozen_convolution_only_passes_a_gradient_to_its_norm(tiles: AmxConvolution) -> None:
    layers = RUNS["all"]()
    layers[0].requires_grad_(False)
    maps = torch.randn(20, 16, 6, 4).bfloat16().contiguous(memory_format=torch.channels_last)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        output, vjp = chain_vjps(layers, maps, False)
        backward = Backward(None, 20)
        assert vjp(torch.ones_like(output), backward) is None
    assert set(backward.gradients) == set(layers[2].parameters())


@pytest.mark.parametrize("memory", [float("nan"), float("inf"), 1e4, -3e30])
def test_foreign_running_statistics_do_not_change_a_step(
    memory: float, tiles: AmxConvolution, always_compiled: Callable[[ModuleType], None]
) -> None:
    """They are the pivots of the sums; nothing else in a training depends on them."""
    always_compiled(batch_norm)
    torch.manual_seed(0)
    layers, maps = RUNS["no GELU"](), torch.randn(20, 16, 6, 4).bfloat16().contiguous(memory_format=torch.channels_last)
    norm = cast(BatchNorm, layers[2])
    outputs = []
    for mean in (0.0, memory):
        cast(Tensor, norm.running_mean).fill_(mean)
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            outputs.append(chain_vjps(layers, maps, True)[0])
    torch.testing.assert_close(*outputs, rtol=2**-7, atol=2e-3)
