"""XGrad-CAM: the sum of the channels, each weighted by its gradient, averaged in proportion to the activations."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

SMALL = 1e-7  # a channel whose activations sum to less than this has no weight


def xgrad_cam(activations: Float[Tensor, "n c h w"], gradients: Float[Tensor, "n c h w"]) -> Float[Tensor, "n h w"]:
    """Return XGrad-CAM: the sum of the channels, each weighted by the activation-weighted mean of its gradient.

        w[c] = sum_ij g[c,i,j] A[c,i,j] / sum_ij A[c,i,j]        cam[i,j] = sum_c w[c] A[c,i,j]

    Fu et al. 2020, "Axiom-based Grad-CAM", arXiv 2008.02312, equation 8. The map has the same sum as HiResCAM's. A
    channel whose activations sum to zero has the weight zero.

    Args:
        activations: Activations A of the stage, float [n c h w].
        gradients: Gradient g of the target score with respect to A, float [n c h w].

    Returns:
        The CAM, signed, in units of the score, float [n h w].

    >>> activations = torch.tensor([[[[1.0, 3.0]]]])
    >>> gradients = torch.tensor([[[[4.0, 0.0]]]])
    >>> xgrad_cam(activations, gradients).tolist()  # weight 4 / 4
    [[[1.0, 3.0]]]
    """
    total = activations.sum(dim=(2, 3))
    safe = torch.where(total.abs() > SMALL, total, torch.inf)
    weights = (gradients * activations).sum(dim=(2, 3)) / safe
    return torch.einsum("nc,nchw->nhw", weights, activations)
