from __future__ import annotations

import torch
from torch import nn

from firstlight.layers.residual import Residual


def test_the_output_is_the_input_plus_the_branch() -> None:
    branch = nn.Linear(2, 2, bias=False)
    branch.weight.data = torch.tensor([[0.0, 3.0], [1.0, 0.0]])
    # (5, 7) + (3 * 7, 1 * 5)
    assert Residual(branch)(torch.tensor([[5.0, 7.0]])).tolist() == [[26.0, 12.0]]


def test_a_hook_sees_the_sum_and_the_gradient_flows_through_both_paths() -> None:
    branch = nn.Linear(1, 1, bias=False)
    branch.weight.data.fill_(4.0)
    residual = Residual(branch)
    seen = []
    residual.register_forward_hook(lambda _module, _inputs, output: seen.append(output.item()))
    x = torch.tensor([[2.0]], requires_grad=True)
    residual(x).sum().backward()
    assert seen == [10.0]
    assert x.grad is not None
    assert x.grad.item() == 5.0  # 1 through the shortcut, 4 through the branch
