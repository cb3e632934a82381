"""What becomes of a whole map before the head."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F


class MaxMeanPool(nn.Module):
    """The largest number of each map plus its mean: how strongly something is seen, and how much of it.

    >>> import torch
    >>> MaxMeanPool()(torch.tensor([[[[1.0, 5.0]]]])).tolist()
    [[[[8.0]]]]
    """

    def forward(self, maps: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c 1 1"]:
        """Return one number for each map."""
        return F.adaptive_max_pool2d(maps, 1) + F.adaptive_avg_pool2d(maps, 1)
