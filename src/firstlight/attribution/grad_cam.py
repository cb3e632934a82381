"""Grad-CAM: the sum of the channels, weighted by their mean gradients."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def grad_cam(activations: Float[Tensor, "n c h w"], gradients: Float[Tensor, "n c h w"]) -> Float[Tensor, "n h w"]:
    """Return Grad-CAM: the sum of the channels, each weighted by the spatial mean of its gradient.

        w[c] = 1/(h w) sum_ij g[c,i,j]        cam[i,j] = sum_c w[c] A[c,i,j]

    Selvaraju et al. 2017, arXiv 1610.02391, equations 1 and 2. The ReLU of equation 2 is not applied; use
    `positive_evidence`.

    Args:
        activations: Activations A of the stage, float [n c h w].
        gradients: Gradient g of the target score with respect to A, float [n c h w].

    Returns:
        The CAM, signed, in units of the score, float [n h w].

    >>> activations = torch.tensor([[[[1.0, 2.0]], [[3.0, 0.0]]]])
    >>> gradients = torch.tensor([[[[4.0, 0.0]], [[-1.0, -1.0]]]])
    >>> grad_cam(activations, gradients).tolist()  # weights 2 and -1
    [[[-1.0, 4.0]]]
    """
    weights = gradients.mean(dim=(2, 3))
    return torch.einsum("nc,nchw->nhw", weights, activations)
