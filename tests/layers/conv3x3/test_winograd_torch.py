"""Winograd's convolution in PyTorch, for blocks of any size."""

from __future__ import annotations

import pytest
import torch

from firstlight.layers.conv3x3 import winograd_torch
from firstlight.layers.conv3x3.winograd_torch import TorchWinograd


@pytest.mark.parametrize("block", [1, 2**9])
def test_blocks_change_nothing(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    maps, filters, gradient = torch.randn(5, 15, 31, 6), torch.randn(7, 6, 3, 3), torch.randn(5, 15, 31, 7)
    maps, filters, gradient = maps.double(), filters.double(), gradient.double()
    algorithm = TorchWinograd()
    whole = algorithm.convolve(maps, filters), *algorithm.gradients(maps, filters, gradient, True, True)
    monkeypatch.setattr(winograd_torch, "BLOCK", block)
    monkeypatch.setattr(winograd_torch, "MIN_BLOCK_TILES", 1)
    parts = algorithm.convolve(maps, filters), *algorithm.gradients(maps, filters, gradient, True, True)
    for one, other in zip(whole, parts, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12 * float(one.abs().max()))
