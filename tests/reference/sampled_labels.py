"""Labels drawn from the softmax of random logits at a known temperature."""

from __future__ import annotations

import torch
from torch import Tensor


def sampled_labels(temperature: float, num: int = 4000, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Return logits [num 5], and labels drawn from `softmax(logits / temperature)`."""
    draw = torch.Generator().manual_seed(seed)
    logits = torch.randn(num, 5, generator=draw) * 3
    labels = torch.multinomial((logits / temperature).softmax(dim=1), 1, generator=draw)[:, 0]
    return logits, labels
