"""The native 2x2 max-pool against PyTorch's, bit for bit, in values and gradients."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from types import ModuleType

import pytest
import torch
from torch import Tensor, nn

from firstlight.layers import max_pool
from firstlight.layers.max_pool import MaxPool2x2

DTYPES = [torch.float32, torch.float64, torch.bfloat16]


@pytest.fixture
def pool(always_compiled: Callable[[ModuleType], None]) -> MaxPool2x2:
    """The layer, which uses the native kernel for maps of any size."""
    always_compiled(max_pool)
    return MaxPool2x2()


def output_and_gradient(layer: nn.Module, images: Tensor) -> tuple[Tensor, Tensor]:
    """Return the output, and the gradient of a weighted sum with different weights."""
    x = images.clone(memory_format=torch.preserve_format).requires_grad_()
    output = layer(x)
    weights = torch.arange(1, output.numel() + 1).reshape(output.shape).to(output.dtype)
    (gradient,) = torch.autograd.grad(output, x, weights)
    return output.detach(), gradient


def assert_the_same_bits(found: Tensor, expected: Tensor) -> None:
    assert found.dtype == expected.dtype
    torch.testing.assert_close(found, expected, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", [(2, 2), (2, 3), (3, 2), (4, 4), (7, 5), (15, 31), (32, 32)])
@pytest.mark.parametrize("channels", [1, 7, 16, 33, 64])
def test_equals_pytorch(dtype: torch.dtype, size: tuple[int, int], channels: int, pool: MaxPool2x2) -> None:
    torch.manual_seed(0)
    images = torch.randn(3, channels, *size).to(dtype)
    assert pool.is_faster(images)
    for layout in (torch.contiguous_format, torch.channels_last):
        placed = images.contiguous(memory_format=layout)
        for found, expected in zip(
            output_and_gradient(pool, placed), output_and_gradient(nn.MaxPool2d(2), placed), strict=True
        ):
            assert_the_same_bits(found, expected)
            assert found.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf"), 0.0, -0.0])
def test_ties_and_nan(dtype: torch.dtype, number: float, pool: MaxPool2x2) -> None:
    """Every window of ones and the special value has PyTorch's gradient."""
    patterns = torch.tensor([[pattern >> place & 1 for place in range(4)] for pattern in range(16)])
    windows = torch.where(patterns.bool(), number, 1.0).to(dtype).reshape(16, 1, 2, 2).expand(-1, 20, -1, -1)
    for found, expected in zip(
        output_and_gradient(pool, windows), output_and_gradient(nn.MaxPool2d(2), windows), strict=True
    ):
        assert_the_same_bits(found, expected)
        assert torch.equal(found.signbit() | found.isnan(), expected.signbit() | expected.isnan())


@pytest.mark.parametrize("num_threads", [1, 2, 5])
def test_threads_change_nothing(num_threads: int, pool: MaxPool2x2, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: num_threads)
    images = torch.randn(7, 24, 9, 6)
    for found, expected in zip(
        output_and_gradient(pool, images), output_and_gradient(nn.MaxPool2d(2), images), strict=True
    ):
        assert_the_same_bits(found, expected)


def test_a_gradient_that_is_expanded_or_cropped(pool: MaxPool2x2) -> None:
    images = torch.randn(2, 16, 9, 8, requires_grad=True)
    for reduce in (lambda y: y.sum(), lambda y: y[:, :, 1:, :-2].square().sum()):
        (fast,) = torch.autograd.grad(reduce(pool(images)), images)
        (direct,) = torch.autograd.grad(reduce(nn.MaxPool2d(2)(images)), images)
        assert_the_same_bits(fast, direct)


def test_nothing_is_written_outside_of_the_buffers(pool: MaxPool2x2) -> None:
    """Guard bands around output, argmax and gradient are unchanged, for channels that do not fill a register."""
    for channels in (1, 17, 48):
        images = torch.randn(3, 5, 7, channels)
        sizes = 3 * 2 * 3 * channels, 3 * 5 * 7 * channels
        output, gradient = (torch.full((size + 128,), 7.0) for size in sizes)
        argmax = torch.full((sizes[0] + 128,), 7, dtype=torch.uint8)
        max_pool._call("pool", torch.float32, images, output[64:], argmax[64:], 3, 5, 7, channels)
        max_pool._call("pool_gradient", torch.float32, output[64:], argmax[64:], gradient[64:], 3, 5, 7, channels)
        for room in (output, gradient, argmax):
            assert (room[:64] == 7).all()
            assert (room[-64:] == 7).all()
        assert argmax[64:-64].max() <= 3


def test_inputs_that_use_the_native_kernel(pool: MaxPool2x2, monkeypatch: pytest.MonkeyPatch) -> None:
    images = torch.randn(4, 8, 6, 6)
    assert pool.is_faster(images)
    assert not pool.is_faster(images.half())
    assert not pool.is_faster(images.to("meta"))
    assert not pool.is_faster(images[0])
    assert not pool.is_faster(images[:, :, :1])
    monkeypatch.setattr(max_pool, "MIN_ELEMENTS", images.numel() + 1)
    assert not pool.is_faster(images)
    monkeypatch.setattr(max_pool, "MIN_ELEMENTS", 0)
    monkeypatch.setattr(max_pool, "_library", lambda: None)
    assert not pool.is_faster(images)
    assert_the_same_bits(pool(images), nn.MaxPool2d(2)(images))


def test_nothing_is_compiled_for_a_few_images(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(max_pool, "_library", lambda: pytest.fail("compiled"))
    assert not MaxPool2x2().is_faster(torch.randn(1, 128, 32, 32))


def test_traced_and_exported_layers_contain_pytorchs_pool(pool: MaxPool2x2) -> None:
    images = torch.randn(4, 8, 6, 6)
    exported = torch.export.export(pool, (images,))
    assert any("max_pool2d" in str(node.target) for node in exported.graph.nodes)
    assert_the_same_bits(exported.module()(images), pool(images))
    with warnings.catch_warnings():
        warnings.simplefilter("error", torch.jit.TracerWarning)
        warnings.simplefilter("ignore", DeprecationWarning)
        traced = torch.jit.trace(pool, images, check_trace=False)
    assert "max_pool2d" in str(traced.inlined_graph)
