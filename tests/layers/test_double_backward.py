"""Second derivatives through layers with a native kernel, against PyTorch's layers and numerical differences."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import pytest
import torch
from torch import Tensor, nn
from torch.fx import symbolic_trace

from firstlight.layers import batch_norm, gelu, max_pool
from firstlight.layers.batch_norm import BatchNorm
from firstlight.layers.conv3x3 import Conv3x3, conv3x3
from firstlight.layers.conv3x3.layer import winograd_algorithm
from firstlight.layers.gelu import Gelu
from firstlight.layers.max_pool import MaxPool2x2
from reference.unchecked import without_type_checks

PAIRS = [(Gelu(), nn.GELU()), (MaxPool2x2(), nn.MaxPool2d(2)), (BatchNorm(3), nn.BatchNorm2d(3))]


@pytest.fixture(autouse=True)
def kernels(always_compiled: Callable[[ModuleType], None]) -> None:
    """Make all layers use their native kernels for any input size."""
    for module in (gelu, max_pool, batch_norm):
        always_compiled(module)


def gradient_and_second(layer: Callable[[Tensor], Tensor], x: Tensor) -> list[Tensor]:
    """Return the gradient of a weighted sum of the output, and the gradients of its squared norm."""
    x = x.clone().requires_grad_()
    output = layer(x)
    weights = torch.linspace(-1, 2, output.numel()).view(output.shape).requires_grad_()
    (first,) = torch.autograd.grad(output, x, weights, create_graph=True)
    second = torch.autograd.grad(first.square().sum(), [x, weights], allow_unused=True, materialize_grads=True)
    return [first, *second]


@pytest.mark.parametrize(("ours", "theirs"), PAIRS, ids=[type(ours).__name__ for ours, _ in PAIRS])
def test_equals_the_second_derivative_of_the_layer_of_pytorch(ours: nn.Module, theirs: nn.Module) -> None:
    x = torch.randn(4, 3, 7, 6)
    assert type(ours(x.requires_grad_()).grad_fn).__name__.startswith("_")  # the native kernel was used
    for found, expected in zip(gradient_and_second(ours, x), gradient_and_second(theirs, x), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
        assert found.abs().max() > 0 or isinstance(ours, MaxPool2x2)  # which is linear in its input


def test_a_second_derivative_leaves_the_running_statistics_alone() -> None:
    ours, theirs = BatchNorm(3), nn.BatchNorm2d(3)
    x = torch.randn(4, 3, 7, 6)
    gradient_and_second(ours, x)
    gradient_and_second(theirs, x)
    assert ours.num_batches_tracked == theirs.num_batches_tracked == 1
    torch.testing.assert_close(ours.running_var, theirs.running_var)


def test_the_convolution_by_winograd_has_every_second_derivative() -> None:
    algorithm = winograd_algorithm(torch.float64, 2, 3)
    images, filters = (
        torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in ((2, 2, 5, 4), (3, 2, 3, 3))
    )
    assert torch.autograd.gradgradcheck(lambda x, w: conv3x3(x, w, algorithm), (images, filters))


def test_a_gradient_penalty_trains_all_layers_together() -> None:
    """The usual use: the norm of the input's gradient as part of a loss."""
    torch.manual_seed(0)
    ours = nn.Sequential(Conv3x3(16, 16), BatchNorm(16), Gelu(), MaxPool2x2(), Conv3x3(16, 4))
    theirs = nn.Sequential(
        nn.Conv2d(16, 16, 3, padding=1, bias=False),
        nn.BatchNorm2d(16),
        nn.GELU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 4, 3, padding=1, bias=False),
    )
    theirs.load_state_dict(ours.state_dict())
    found = []
    for network in (ours, theirs):
        x = torch.rand(64, 16, 12, 12, generator=torch.Generator().manual_seed(1)).requires_grad_()
        (gradient,) = torch.autograd.grad(network(x).square().mean(), x, create_graph=True)
        gradient.square().sum().backward()
        found.append([parameter.grad for parameter in network.parameters()])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-3 * other.abs().max().item())


@pytest.mark.parametrize("training", [False, True])
def test_torch_fx_traces_the_layers_as_leaves(training: bool) -> None:
    network = nn.Sequential(Conv3x3(3, 4), BatchNorm(4), Gelu(), MaxPool2x2()).train(training)
    with without_type_checks():  # a Proxy is no Tensor
        traced = symbolic_trace(network)
    assert [node.target for node in traced.graph.nodes if node.op == "call_module"] == ["0", "1", "2", "3"]
    x = torch.randn(2, 3, 8, 8)
    torch.testing.assert_close(traced(x), network(x))
