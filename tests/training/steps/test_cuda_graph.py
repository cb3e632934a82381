"""CUDA graphs: a replay computes the same as the captured function. Needs a GPU."""

from __future__ import annotations

import pytest
import torch

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


def test_a_captured_function_computes_the_same_and_restores_its_tensors() -> None:

    total = torch.zeros(3, device="cuda")

    def add(x: torch.Tensor) -> torch.Tensor:
        total.add_(x)
        return 2 * total

    replay = capture(add, [torch.ones(3, device="cuda")], [total])
    assert not total.any(), "capturing is undone"
    for count in (1, 2, 3):
        found = replay(torch.full((3,), 5.0, device="cuda"))
        assert found.tolist() == [10.0 * count] * 3
    assert total.tolist() == [15.0] * 3
