"""Grad-CAM++: every channel is weighted by its positive gradients, each with a closed-form coefficient."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def grad_cam_pp(activations: Float[Tensor, "n c h w"], gradients: Float[Tensor, "n c h w"]) -> Float[Tensor, "n h w"]:
    """Sum the channels, each weighted by its positive gradients with the paper's alphas.

        alpha[c,i,j] = g^2 / (2 g^2 + S[c] g^3),  g = g[c,i,j],  S[c] = sum_ab A[c,a,b]
        w[c] = sum_ij alpha[c,i,j] max(g[c,i,j], 0)        cam[i,j] = sum_c w[c] A[c,i,j]

    (Chattopadhay et al. 2018, arXiv 1710.11063: the alphas are equation 19, which takes the class score
    for exp(logit) and the network for piecewise linear. The final ReLU is left to `positive_evidence`.)

    Only positive gradients count, and for those alpha g = g / (2 + S g), the form computed here: powers
    of small gradients cannot underflow. Two conventions:

    - The paper's weights carry a factor exp(logit), one positive number for each image. It scales the whole
      map and is left out, as every public implementation does.
    - The paper's activations follow a ReLU, so S is never negative. After batch norm it can be, and the
      denominator would cross zero; S counts as zero then. Where activations are not negative this changes nothing.

    torchcam 0.5.0 agrees on neither S g^3 (it sums A g^3 over the map) nor the quotient (its division acts
    on a copy), which leaves it with w[c] = sum_ij max(g, 0)^3.

    Args:
        activations: A, what the stage gave out, float [n c h w].
        gradients: g, the logit's gradient by A, float [n c h w].

    Returns:
        The cam, signed, float [n h w].

    >>> activations = torch.tensor([[[[1.0, 1.0]], [[3.0, 0.0]]]])
    >>> gradients = torch.tensor([[[[2.0, 0.0]], [[-1.0, -1.0]]]])
    >>> [[[round(x, 3) for x in row] for row in cam] for cam in grad_cam_pp(activations, gradients).tolist()]
    [[[0.333, 0.333]]]
    """
    positive = torch.relu(gradients)
    total = torch.relu(activations.sum(dim=(2, 3), keepdim=True))
    weights = (positive / (2 + total * positive)).sum(dim=(2, 3))
    return torch.einsum("nc,nchw->nhw", weights, activations)
