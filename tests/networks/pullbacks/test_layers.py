"""Rules beyond what test_selective.py, which goes back through all of them, shows."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from firstlight.networks.max_pool import MaxPool2x2
from firstlight.networks.pullbacks import Backward, traced


@pytest.mark.parametrize("side", [8, 7])
@pytest.mark.parametrize("places", [None, [4, 1]])
def test_the_pool_in_plain_arithmetic_is_pytorch_s(
    side: int, places: list[int] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it is compiled; on maps of few values, so that most windows have several largest ones."""
    draw = torch.Generator().manual_seed(0)
    maps = torch.randint(0, 3, (6, 5, side, side), generator=draw).double()
    maps = maps.contiguous(memory_format=torch.channels_last).requires_grad_()
    expected = F.max_pool2d(maps, 2)
    gradient = torch.randn(expected.shape, dtype=torch.float64, generator=draw)
    chosen = torch.tensor(range(6) if places is None else places)
    (of_maps,) = torch.autograd.grad(expected, maps, torch.zeros_like(gradient).index_copy(0, chosen, gradient[chosen]))

    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    found, pullback = traced(MaxPool2x2(), maps.detach(), True)
    assert torch.equal(found, expected)
    back = pullback(gradient[chosen], Backward(None if places is None else chosen, 6))
    assert torch.equal(back, of_maps[chosen])
    assert back.is_contiguous(memory_format=torch.channels_last)
