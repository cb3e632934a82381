"""The native GELU against the exact function in float64, in values and gradients."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from types import ModuleType

import pytest
import torch
from torch import Tensor, nn

from firstlight.layers import gelu
from firstlight.layers.gelu import Gelu
from firstlight.native.dispatch import call_for
from firstlight.networks import SpeedNet

# Relative and absolute tolerance: the last bit, and the error of the polynomial.
TOLERANCES = {torch.float32: (3e-7, 5e-7), torch.bfloat16: (2**-8, 5e-7)}
DTYPES = list(TOLERANCES)


@pytest.fixture
def layer(always_compiled: Callable[[ModuleType], None]) -> Gelu:
    """The layer, which uses the native kernel for any input size."""
    always_compiled(gelu)
    return Gelu()


def exact(numbers: Tensor) -> tuple[Tensor, Tensor]:
    """Return x P(x) and its derivative P(x) + x p(x), from math.erfc, number by number."""
    x = numbers.double().flatten()
    below = torch.tensor([math.erfc(-each / math.sqrt(2)) / 2 for each in x.tolist()], dtype=torch.float64)
    density = torch.exp(-x.square() / 2) / math.sqrt(2 * math.pi)
    return (x * below).view(numbers.shape), (below + x * density).view(numbers.shape)


def output_and_gradient(layer: nn.Module, numbers: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    x = numbers.clone(memory_format=torch.preserve_format).requires_grad_()
    output = layer(x)
    return output.detach(), torch.autograd.grad(output, x, weights)[0]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("count", [1, 15, 16, 17, 20_001])
def test_equals_the_exact_function(dtype: torch.dtype, count: int, layer: Gelu) -> None:
    numbers = torch.linspace(-14, 14, count).to(dtype)
    weights = torch.linspace(-2, 3, count).to(dtype)
    assert layer.is_faster(numbers)
    relative, absolute = TOLERANCES[dtype]
    value, slope = exact(numbers)
    for found, expected in zip(
        output_and_gradient(layer, numbers, weights), (value, slope * weights.double()), strict=True
    ):
        assert found.dtype == dtype
        error = (found.double() - expected).abs()
        # The slope is rounded to bfloat16 before the product.
        assert (error <= 2 * relative * expected.abs() + 3 * absolute).all(), error.max()


def test_every_bfloat16_value(layer: Gelu) -> None:
    """All bfloat16 values, because the kernel may use a table of them."""
    numbers = torch.arange(-(2**15), 2**15, dtype=torch.int32).to(torch.int16).view(torch.bfloat16)
    finite = numbers[numbers.isfinite()]
    value, slope = exact(finite)
    found, gradient = output_and_gradient(layer, finite, torch.ones_like(finite))
    # Half a unit in the last place; far below zero the polynomial's error and denormals dominate.
    for one, other in ((found, value), (gradient, slope)):
        assert ((one.double() - other).abs() <= 2**-8 * other.abs() * 1.001 + 5e-7).all()
    assert len(finite) == 2**16 - 2 * 2**7
    assert layer(numbers[numbers.isnan()]).isnan().all()


def test_in_float32_the_error_is_no_larger_than_pytorchs(layer: Gelu) -> None:
    numbers = torch.linspace(-14, 14, 50_000)
    value, _ = exact(numbers)
    ours, theirs = ((each(numbers).double() - value).abs().max() for each in (layer, nn.GELU()))
    half_of_last_bit = 2.0**-21  # of numbers from 8 to 16
    assert ours <= max(theirs, half_of_last_bit)


@pytest.mark.parametrize("dtype", DTYPES)
def test_nan_stays_nan_and_zero_keeps_its_sign(dtype: torch.dtype, layer: Gelu) -> None:
    for nan in (float("nan"), -float("nan")):
        found = layer(torch.full((40,), nan, dtype=dtype))
        assert found.isnan().all()
    odd = torch.tensor([0x7FC00001, 0x7FFFFFFF, 0x7F800001], dtype=torch.int32).view(torch.float32)
    assert layer(odd).isnan().all()
    _, gradient = output_and_gradient(layer, odd.to(dtype), torch.ones(3, dtype=dtype))
    assert gradient.isnan().all()
    assert layer(torch.tensor([float("inf"), 1e30, -1e30], dtype=dtype)).tolist() == pytest.approx(
        [float("inf"), 1e30, 0], rel=0.01, abs=1e-6
    )
    zeros = layer(torch.tensor([0.0, -0.0], dtype=dtype))
    assert zeros.tolist() == [0, 0]
    assert zeros.signbit().tolist() == [False, True]


@pytest.mark.parametrize("num_threads", [1, 2, 5])
def test_threads_change_nothing(num_threads: int, layer: Gelu, monkeypatch: pytest.MonkeyPatch) -> None:
    numbers, weights = torch.randn(7, 24, 9, 6), torch.randn(7, 24, 9, 6)
    whole = output_and_gradient(layer, numbers, weights)
    monkeypatch.setattr(torch, "get_num_threads", lambda: num_threads)
    for found, expected in zip(output_and_gradient(layer, numbers, weights), whole, strict=True):
        assert torch.equal(found, expected)


@pytest.mark.parametrize("format_", [torch.contiguous_format, torch.channels_last])
def test_the_memory_layout_is_kept_in_both_passes(format_: torch.memory_format, layer: Gelu) -> None:
    numbers = torch.randn(3, 8, 5, 4).contiguous(memory_format=format_)
    value, slope = exact(numbers)
    for weights in (
        torch.randn(3, 8, 5, 4),
        torch.randn(3, 8, 5, 4).contiguous(memory_format=torch.channels_last),
        torch.randn(3, 1, 1, 1).expand(3, 8, 5, 4),
        torch.randn(3, 8, 5, 8)[..., ::2],
    ):
        output, gradient = output_and_gradient(layer, numbers, weights)
        assert output.is_contiguous(memory_format=format_)
        torch.testing.assert_close(output.double(), value, rtol=1e-6, atol=1e-6)
        torch.testing.assert_close(gradient.double(), slope * weights, rtol=1e-6, atol=2e-6)


def test_no_slope_is_stored_without_a_gradient(layer: Gelu) -> None:
    numbers = torch.randn(40)
    assert layer(numbers).grad_fn is None
    with torch.no_grad():
        output = layer(numbers.clone().requires_grad_())
    assert output.grad_fn is None
    torch.testing.assert_close(output, nn.functional.gelu(numbers), rtol=0, atol=1e-6)


def test_nothing_is_written_outside_of_the_buffer(layer: Gelu) -> None:
    for dtype in DTYPES:
        for count in (1, 17, 48):
            rooms = [torch.full((count + 64,), 7.0, dtype=dtype) for _ in range(3)]
            output, slopes, gradient = (room[32:-32] for room in rooms)
            call_for(dtype, gelu._library(), "gelu", torch.randn(count).to(dtype), output, slopes, count)
            call_for(dtype, gelu._library(), "gelu_gradient", output, slopes, gradient, count)
            for room in rooms:
                assert (room[:32] == 7).all()
                assert (room[-32:] == 7).all()


def test_inputs_that_use_the_native_kernel(layer: Gelu, monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = torch.randn(4, 8, 6, 6)
    assert layer.is_faster(numbers)
    assert layer.is_faster(numbers.transpose(1, 2))
    assert not layer.is_faster(numbers.half())
    assert not layer.is_faster(numbers.double())
    assert not layer.is_faster(numbers.to("meta"))
    assert not layer.is_faster(numbers[..., ::2])
    assert not layer.is_faster(numbers[:1].expand(4, -1, -1, -1))
    monkeypatch.setattr(gelu, "MIN_ELEMENTS", numbers.numel() + 1)
    assert not layer.is_faster(numbers)
    monkeypatch.setattr(gelu, "MIN_ELEMENTS", 0)
    monkeypatch.setattr(gelu, "_library", lambda: None)
    assert not layer.is_faster(numbers)
    assert torch.equal(layer(numbers), nn.functional.gelu(numbers))


def test_nothing_is_compiled_for_a_few_images(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gelu, "_library", lambda: pytest.fail("compiled"))
    assert not Gelu().is_faster(torch.randn(1, 64, 32, 32))


def test_every_activation_of_speednet_is_a_gelu_layer() -> None:
    assert not [each for each in SpeedNet(10).modules() if type(each) is nn.GELU]
    assert len([each for each in SpeedNet(10).modules() if isinstance(each, Gelu)]) == 7


def test_traced_and_exported_layers_contain_pytorchs_function(layer: Gelu) -> None:
    numbers = torch.randn(4, 8, 6, 6)
    exported = torch.export.export(layer, (numbers,))
    assert any("gelu" in str(node.target) for node in exported.graph.nodes)
    torch.testing.assert_close(exported.module()(numbers), layer(numbers), rtol=0, atol=1e-6)
    with warnings.catch_warnings():
        warnings.simplefilter("error", torch.jit.TracerWarning)
        warnings.simplefilter("ignore", DeprecationWarning)
        traced = torch.jit.trace(layer, numbers, check_trace=False)
    assert "aten::gelu" in str(traced.inlined_graph)
