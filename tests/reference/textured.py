"""Random pictures with structure at several scales."""

from __future__ import annotations

import torch
from torch.nn import functional


def textured(count: int, side_px: int = 32) -> torch.Tensor:
    """Return smooth random pictures with structure at several scales, as photographs have, uint8 [n 3 s s]."""
    draw = torch.Generator().manual_seed(0)
    layers = [
        functional.interpolate(
            torch.randn(count, channels, cells, cells, generator=draw), (side_px, side_px), mode="bicubic"
        )
        for cells, channels in ((3, 3), (6, 1), (12, 1))
    ]
    return (128 + 30 * layers[0] + 30 * layers[1] + 12 * layers[2]).clamp(0, 255).to(torch.uint8)
