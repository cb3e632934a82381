"""Muon against slow twins in numpy, and its SGD groups against PyTorch's own SGD."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

from firstlight.optim.muon import Muon, orthogonalized
from reference.recording import called
from reference.unchecked import printed_apart


def newton_schulz_of_singular_values(matrix: np.ndarray, num_steps: int) -> np.ndarray:
    """Apply the polynomial to the singular values, which equals the iteration in exact arithmetic."""
    u, s, vt = np.linalg.svd(matrix / np.linalg.norm(matrix), full_matrices=False)
    for _ in range(num_steps):
        s = 3.4445 * s - 4.7750 * s**3 + 2.0315 * s**5
    return u @ np.diag(s) @ vt


@pytest.mark.parametrize("shape", [(3, 5, 7), (2, 8, 3), (1, 4, 4)], ids=["wide", "tall", "square"])
@pytest.mark.parametrize("num_steps", [1, 3, 5])
def test_each_matrix_of_a_batch_gets_the_polynomial_on_its_singular_values(
    shape: tuple[int, int, int], num_steps: int
) -> None:
    matrices = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    (found,) = orthogonalized([matrices], num_steps)
    for one, expected in zip(found, matrices, strict=True):
        np.testing.assert_allclose(one, newton_schulz_of_singular_values(expected.numpy(), num_steps), atol=1e-6)


def test_five_steps_bring_every_singular_value_near_one() -> None:
    matrices = torch.randn(4, 16, 40, generator=torch.Generator().manual_seed(0))
    values = torch.linalg.svdvals(orthogonalized([matrices], num_steps=5)[0])
    assert 0.6 < float(values.min()) <= float(values.max()) < 1.3


def test_in_bfloat16_it_is_one_percent_off() -> None:
    matrices = torch.randn(2, 32, 200, generator=torch.Generator().manual_seed(0))
    matrices *= torch.logspace(0, -2, 32)[:, None]  # singular values over two orders of magnitude
    (found,) = orthogonalized([matrices.bfloat16()])
    assert found.dtype == torch.bfloat16
    for one, matrix in zip(found.double().numpy(), matrices.numpy(), strict=True):
        expected = newton_schulz_of_singular_values(matrix, 3)
        assert np.linalg.norm(one - expected) < 0.02 * np.linalg.norm(expected)


def test_a_matrix_of_zeros_stays_zero() -> None:
    assert torch.equal(orthogonalized([torch.zeros(1, 3, 4)])[0], torch.zeros(1, 3, 4))


def test_matrices_of_several_shapes_do_not_mix() -> None:
    draw = torch.Generator().manual_seed(1)
    stacks = [torch.randn(shape, dtype=torch.float64, generator=draw) for shape in [(2, 3, 7), (1, 6, 4), (3, 5, 5)]]
    for one, stack in zip(orthogonalized(stacks), stacks, strict=True):
        torch.testing.assert_close(one, orthogonalized([stack])[0])


def test_its_sgd_equals_pytorchs() -> None:
    torch.manual_seed(0)
    ours, theirs = nn.Linear(5, 3).double(), nn.Linear(5, 3).double()
    theirs.load_state_dict(ours.state_dict())
    one = Muon([{"params": ours.parameters(), "lr": 0.3, "momentum": 0.85, "weight_decay": 0.1}])
    other = torch.optim.SGD(theirs.parameters(), lr=0.3, momentum=0.85, weight_decay=0.1, nesterov=True)
    for _ in range(5):
        inputs = torch.randn(4, 5, dtype=torch.float64)
        for network, optimizer in ((ours, one), (theirs, other)):
            optimizer.zero_grad()
            network(inputs).square().sum().backward()
            optimizer.step()
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(a, b)


def test_its_filters_follow_the_equations() -> None:
    """Two filters of one shape and one of another, three steps, against a loop over each in numpy."""
    draw = torch.Generator().manual_seed(0)
    shapes = [(4, 3, 3, 3), (4, 3, 3, 3), (6, 4, 1, 1)]
    parameters = [nn.Parameter(torch.randn(shape, dtype=torch.float64, generator=draw)) for shape in shapes]
    gradients = [[torch.randn(shape, dtype=torch.float64, generator=draw) for shape in shapes] for _ in range(3)]
    weights = [each.detach().numpy().copy() for each in parameters]
    buffers = [np.zeros(shape) for shape in shapes]
    optimizer = Muon([{"params": parameters, "kind": "muon", "lr": 0.24, "momentum": 0.6}])
    for step in gradients:
        for parameter, gradient in zip(parameters, step, strict=True):
            parameter.grad = gradient.clone()
        optimizer.step()
        for index, gradient in enumerate(each.numpy() for each in step):
            buffers[index] = 0.6 * buffers[index] + gradient
            update = (gradient + 0.6 * buffers[index]).reshape(len(gradient), -1)
            w = weights[index] * np.sqrt(len(gradient)) / np.linalg.norm(weights[index])
            weights[index] = w - 0.24 * newton_schulz_of_singular_values(update, 3).reshape(w.shape)
    for parameter, expected in zip(parameters, weights, strict=True):
        np.testing.assert_allclose(parameter.detach(), expected, atol=1e-6)


def test_its_update_can_be_computed_in_bfloat16_while_weights_stay_what_they_are() -> None:
    draw = torch.Generator().manual_seed(0)
    start, gradient = (torch.randn(8, 4, 3, 3, generator=draw) for _ in range(2))
    weights = [nn.Parameter(start.clone()) for _ in range(2)]
    for weight, dtype in zip(weights, (None, torch.bfloat16), strict=True):
        weight.grad = gradient.clone()
        Muon([{"params": [weight], "kind": "muon", "lr": 0.24}], matmul_dtype=dtype).step()
    exact, rounded = (each.detach() - start * 8**0.5 / start.norm() for each in weights)
    assert weights[1].dtype == torch.float32
    assert 0 < (rounded - exact).norm() < 0.02 * exact.norm()


def test_filters_in_channels_last_memory_are_updated_alike() -> None:
    torch.manual_seed(0)
    plain = nn.Conv2d(3, 4, 3)
    last = nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    last.load_state_dict(plain.state_dict())
    images = torch.randn(2, 3, 8, 8)
    for conv in (plain, last):
        optimizer = Muon([{"params": [conv.weight], "kind": "muon", "lr": 0.1}])
        for _ in range(2):
            optimizer.zero_grad()
            conv(images).square().sum().backward()
            optimizer.step()
    torch.testing.assert_close(plain.weight, last.weight)


def test_one_schedule_serves_every_group_and_the_state_comes_back() -> None:
    def make() -> tuple[nn.Conv2d, Muon]:
        torch.manual_seed(0)
        conv = nn.Conv2d(3, 4, 3)
        groups = [{"params": [conv.weight], "kind": "muon", "lr": 0.2}, {"params": [conv.bias], "lr": 0.1}]
        return conv, Muon(groups)

    def train(conv: nn.Conv2d, optimizer: Muon, seed: int) -> None:
        images = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(seed))
        optimizer.zero_grad()
        conv(images).square().sum().backward()
        optimizer.step()

    conv, optimizer = make()
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / 4)
    train(conv, optimizer, 0)
    schedule.step()
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.15, 0.075])
    again, other = make()
    again.load_state_dict(conv.state_dict())
    other.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    train(conv, optimizer, 1)
    train(again, other, 1)
    assert torch.equal(conv.weight, again.weight)
    assert torch.equal(conv.bias, again.bias)


def test_a_recorded_update_is_the_update() -> None:
    """The rates change from step to step."""
    pairs = []
    for _ in range(2):
        torch.manual_seed(0)
        module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3), nn.Conv2d(4, 6, 1)).double()
        filters, biases = [each.weight for each in module], [each.bias for each in module]
        groups = [{"params": filters, "kind": "muon"}, {"params": biases, "lr": 0.3, "weight_decay": 0.1}]
        pairs.append((module, Muon(groups)))
    (usual, plain), (captured, replayed) = pairs
    for each in captured.parameters():
        each.grad = torch.zeros_like(each)
    replayed.capture_update(called)
    for one, other in zip(usual.parameters(), captured.parameters(), strict=True):
        assert torch.equal(one, other), "capturing changes nothing"
    for step in range(3):
        images = torch.randn(2, 3, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(step))
        for module, optimizer in pairs:
            optimizer.zero_grad(set_to_none=optimizer is plain)
            module(images).square().sum().backward()
            for group in optimizer.param_groups:
                group["lr"] *= 0.7
            optimizer.step()
    for one, other in zip(usual.parameters(), captured.parameters(), strict=True):
        torch.testing.assert_close(one, other)


COMPILED = """
import torch
from torch import nn
from firstlight.optim import Muon, muon

muon._compiled_update = lambda: torch.compile(muon._update, fullgraph=True, dynamic=False, backend="aot_eager")
found = []
for is_compiled in (False, True):
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3), nn.Conv2d(4, 6, 1)).to(torch.float64)
    optimizer = Muon([{"params": [each.weight for each in module], "kind": "muon"},
                      {"params": [each.bias for each in module], "lr": 0.3, "weight_decay": 0.1}])
    for each in module.parameters():
        each.grad = torch.randn_like(each)
    optimizer.capture_update(lambda function, inputs, changed: function, is_compiled=is_compiled)
    for _ in range(2):
        optimizer.step()
    found.append(list(module.parameters()))
for one, other in zip(*found, strict=True):
    torch.testing.assert_close(one, other)
print("compiled")
"""


@pytest.mark.slow
def test_the_update_compiles_without_a_graph_break() -> None:
    """Without a break."""
    assert printed_apart(COMPILED) == "compiled\n"


def test_parameters_without_a_gradient_are_unchanged() -> None:
    used, unused = nn.Parameter(torch.ones(2, 2)), nn.Parameter(torch.ones(2, 2))
    used.grad = torch.ones(2, 2)
    Muon([{"params": [used, unused], "kind": "muon"}]).step()
    assert torch.equal(unused, torch.ones(2, 2))
    assert not torch.equal(used, torch.ones(2, 2))


def test_invalid_groups_are_refused() -> None:
    with pytest.raises(ValueError, match="'muon' or 'sgd', not 'adam'"):
        Muon([{"params": [nn.Parameter(torch.ones(2))], "kind": "adam"}])  # type: ignore[typeddict-item]
    with pytest.raises(ValueError, match="one axis"):
        Muon([{"params": [nn.Parameter(torch.ones(2))], "kind": "muon"}])
