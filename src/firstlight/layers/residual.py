"""The residual connection as a module."""

from __future__ import annotations

from torch import Tensor, nn


class Residual(nn.Module):
    """`x + branch(x)` as a module, so that hooks and explanations can read the sum.

    (He et al. 2016, arXiv 1512.03385, equation 1.)

    >>> import torch
    >>> Residual(nn.Identity())(torch.ones(2)).tolist()
    [2.0, 2.0]
    """

    def __init__(self, branch: nn.Module) -> None:
        super().__init__()
        self.branch = branch

    def forward(self, x: Tensor) -> Tensor:
        """Return the sum of the input and of the branch's output, shaped as the input."""
        return x + self.branch(x)
