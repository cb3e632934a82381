"""HiResCAM: every activation is weighted by its own gradient."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor


def hires_cam(activations: Float[Tensor, "n c h w"], gradients: Float[Tensor, "n c h w"]) -> Float[Tensor, "n h w"]:
    """Multiply activation and gradient cell by cell, then sum the channels.

        cam[i,j] = sum_c g[c,i,j] A[c,i,j]

    (Draelos and Carin 2020, arXiv 2011.08891, section 3. The paper applies no ReLU.) Where only pooling
    and a linear layer without bias follow the stage, the cells sum to the logit: each is what it added.

    Args:
        activations: A, what the stage gave out, float [n c h w].
        gradients: g, the target score's gradient by A, float [n c h w].

    Returns:
        The cam, signed, in units of the score, float [n h w].

    >>> import torch
    >>> activations = torch.tensor([[[[1.0, 2.0]], [[3.0, 0.0]]]])
    >>> gradients = torch.tensor([[[[4.0, 0.0]], [[-1.0, -1.0]]]])
    >>> hires_cam(activations, gradients).tolist()  # 4 - 3 and 0 - 0
    [[[1.0, 0.0]]]
    """
    return (gradients * activations).sum(dim=1)
