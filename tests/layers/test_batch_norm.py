"""The native batch norm against PyTorch's in float64: output, gradients, statistics, and fused GELU."""

from __future__ import annotations

import copy
from collections.abc import Callable
from types import ModuleType

import pytest
import torch
from torch import Tensor, nn

from firstlight.backprop import Backward, chain_vjps
from firstlight.layers import batch_norm, gelu
from firstlight.layers.batch_norm import BatchNorm, compute_moments
from firstlight.layers.gelu import Gelu

DTYPES = [torch.float32, torch.bfloat16]
# Relative to the largest value: sums are float32, results are rounded to their own type.
ROUNDING = {torch.float32: 2e-5, torch.bfloat16: 6e-3}


@pytest.fixture
def norm(always_compiled: Callable[[ModuleType], None]) -> Callable[[int], BatchNorm]:
    """A layer that uses the native kernel for maps of any size."""
    always_compiled(batch_norm)

    def make(channels: int) -> BatchNorm:
        torch.manual_seed(1)
        layer = BatchNorm(channels, momentum=0.3)
        with torch.no_grad():
            layer.weight.uniform_(0.5, 2)
            layer.bias.normal_()
        return layer

    return make


def maps_for(channels: int, size: tuple[int, int], dtype: torch.dtype, count: int = 6) -> Tensor:
    torch.manual_seed(0)
    maps = 3 + 2 * torch.randn(count, channels, *size)
    return maps.to(dtype).contiguous(memory_format=torch.channels_last)


def results(layer: nn.Module, images: Tensor) -> dict[str, Tensor]:
    """Return output, gradients and running statistics after one pass."""
    x = images.clone(memory_format=torch.preserve_format).requires_grad_()
    output = layer(x)
    weights = torch.linspace(-1, 2, output.numel()).reshape(output.shape).to(output.dtype)
    output.backward(weights)
    assert x.grad is not None
    gradients = {name: each.grad for name, each in layer.named_parameters()}
    return {"output": output.detach(), "input": x.grad, **gradients, **dict(layer.named_buffers())}


def assert_close(found: dict[str, Tensor], expected: dict[str, Tensor], rounding: float) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        error = (found[name].double() - value.double()).abs().max()
        assert error <= rounding * value.double().abs().max(), (name, error)


@pytest.mark.parametrize("num_threads", [1, 3])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", [(1, 2), (3, 5), (12, 9)])
@pytest.mark.parametrize("channels", [1, 17, 64, 100])
def test_equals_pytorch_in_float64(
    channels: int,
    size: tuple[int, int],
    dtype: torch.dtype,
    num_threads: int,
    norm: Callable[[int], BatchNorm],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: num_threads)
    layer, images = norm(channels), maps_for(channels, size, dtype)
    exact = nn.BatchNorm2d(channels, momentum=0.3).double()
    exact.load_state_dict(layer.state_dict())
    assert layer.is_faster(images)
    found, expected = results(layer, images), results(exact, images.double())
    assert found["output"].dtype == found["input"].dtype == dtype
    assert found["output"].is_contiguous(memory_format=torch.channels_last)
    assert found["num_batches_tracked"] == 1
    # A channel of few values can be nearly constant; division by its deviation amplifies rounding.
    assert_close(found, expected, ROUNDING[dtype] * (10 if size == (1, 2) else 1))


def test_a_mean_far_from_zero_does_not_hide_the_variance(norm: Callable[[int], BatchNorm]) -> None:
    """In float32, squares of 10,000 cannot represent a variance of 1e-4."""
    torch.manual_seed(0)
    images = 10_000 + 0.01 * torch.randn(20, 3, 8, 8)
    of = compute_moments(images.permute(0, 2, 3, 1).contiguous())
    exact = images.double().var(dim=(0, 2, 3), correction=0)
    torch.testing.assert_close(of.variance.double(), exact, rtol=1e-5, atol=0)
    torch.testing.assert_close(of.mean.double(), images.double().mean(dim=(0, 2, 3)), rtol=1e-7, atol=0)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kept", [None, [4, 1]])
@pytest.mark.parametrize("channels", [20, 64])
def test_fused_gelu_equals_two_layers(
    channels: int,
    kept: list[int] | None,
    dtype: torch.dtype,
    norm: Callable[[int], BatchNorm],
    always_compiled: Callable[[ModuleType], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also with selected images, which are read in place."""
    always_compiled(gelu)
    images, pair = maps_for(channels, (5, 4), dtype), [norm(channels), Gelu()]
    twin = [copy.deepcopy(pair[0]), nn.Identity(), Gelu()]  # not a pair
    indices = None if kept is None else torch.tensor(kept)
    gradient = torch.randn(6 if kept is None else len(kept), channels, 5, 4).to(dtype)
    found = []
    for layers in (pair, twin):
        with torch.no_grad():
            output, vjp = chain_vjps(layers, images, True)
            backward = Backward(indices, len(images))
            of_images = vjp(gradient, backward)
        assert of_images is not None
        of_parameters = {name: backward.gradients[each] for name, each in layers[0].named_parameters()}
        found.append({"output": output, "input": of_images, **of_parameters, **dict(layers[0].named_buffers())})
    assert_close(*found, rounding=2 * ROUNDING[dtype])
    assert backward.select(images).shape == gradient.shape

    def refused(*arguments: object, **options: object) -> None:
        raise AssertionError("normalized by itself")

    monkeypatch.setattr(gelu, "gelu", refused)  # the pair has no GELU of its own
    with torch.no_grad():
        chain_vjps(pair, images, True)


def test_the_same_bits_every_time(norm: Callable[[int], BatchNorm]) -> None:
    images = maps_for(40, (7, 7), torch.float32)
    first, second = (results(norm(40), images) for _ in range(2))
    for one, other in zip(first.values(), second.values(), strict=True):
        assert torch.equal(one, other)


def test_the_kernel_is_not_used_where_it_is_slower(
    norm: Callable[[int], BatchNorm], monkeypatch: pytest.MonkeyPatch
) -> None:
    layer, images = norm(4), maps_for(4, (3, 3), torch.float32)
    assert layer.is_faster(images)
    assert not layer.is_faster(images.double())
    assert not layer.is_faster(images.to("meta"))
    assert not BatchNorm(4, momentum=None).is_faster(images)
    assert not BatchNorm(4, affine=False).is_faster(images)
    assert not BatchNorm(4, track_running_stats=False).is_faster(images)
    assert not layer.eval().is_faster(images)
    assert not layer.train().double().is_faster(images)
    monkeypatch.setattr(batch_norm, "MIN_ELEMENTS", 10_000)
    monkeypatch.setattr(batch_norm, "_library", lambda: pytest.fail("compiled"))
    assert not layer.float().is_faster(images)


def test_evaluation_and_exports_use_pytorchs_operation(norm: Callable[[int], BatchNorm]) -> None:
    layer, images = norm(4), maps_for(4, (3, 3), torch.float32)
    results(layer, images)
    layer.eval()
    expected = nn.functional.batch_norm(
        images, layer.running_mean, layer.running_var, layer.weight, layer.bias, eps=layer.eps
    )
    assert torch.equal(layer(images), expected)
    exported = torch.export.export(layer, (images,))
    assert any("batch_norm" in str(node.target) for node in exported.graph.nodes)
