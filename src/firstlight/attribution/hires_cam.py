"""HiResCAM: the sum over the channels of activation times gradient, cell by cell."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor


def hires_cam(activations: Float[Tensor, "n c h w"], gradients: Float[Tensor, "n c h w"]) -> Float[Tensor, "n h w"]:
    """Return HiResCAM: activation times gradient in each cell, summed over the channels.

        cam[i,j] = sum_c g[c,i,j] A[c,i,j]

    Draelos and Carin 2020, arXiv 2011.08891, section 3. The paper applies no ReLU. If only pooling and a linear layer
    without bias follow the stage, the cells of the map sum to the logit: each value is the contribution of its cell.

    Args:
        activations: Activations A of the stage, float [n c h w].
        gradients: Gradient g of the target score with respect to A, float [n c h w].

    Returns:
        The CAM, signed, in units of the score, float [n h w].

    >>> import torch
    >>> activations = torch.tensor([[[[1.0, 2.0]], [[3.0, 0.0]]]])
    >>> gradients = torch.tensor([[[[4.0, 0.0]], [[-1.0, -1.0]]]])
    >>> hires_cam(activations, gradients).tolist()  # 4 - 3 and 0 - 0
    [[[1.0, 0.0]]]
    """
    return (gradients * activations).sum(dim=1)
