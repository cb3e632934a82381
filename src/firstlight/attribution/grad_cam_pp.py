"""Grad-CAM++: the sum of the channels, weighted by their positive gradients with closed-form coefficients."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def grad_cam_pp(activations: Float[Tensor, "n c h w"], gradients: Float[Tensor, "n c h w"]) -> Float[Tensor, "n h w"]:
    """Return Grad-CAM++: the sum of the channels, each weighted by its positive gradients times the alphas.

        alpha[c,i,j] = g^2 / (2 g^2 + S[c] g^3),  g = g[c,i,j],  S[c] = sum_ab A[c,a,b]
        w[c] = sum_ij alpha[c,i,j] max(g[c,i,j], 0)        cam[i,j] = sum_c w[c] A[c,i,j]

    Chattopadhay et al. 2018, arXiv 1710.11063. The alphas are equation 19, which assumes that the class score is
    exp(logit) and that the network is piecewise linear. The final ReLU is not applied; use `positive_evidence`.

    Only positive gradients contribute. For them alpha g = g / (2 + S g), and this form is computed, because powers of
    small gradients would underflow. This function differs from the paper in two points:

    - The paper's weights have a factor exp(logit), one positive number for each image. It scales the whole map and is
      omitted, as in every public implementation.
    - The paper's activations follow a ReLU, so S is never negative. After batch norm S can be negative, and the
      denominator could cross zero; a negative S is therefore replaced by 0. Activations that are not negative give
      the paper's result.

    torchcam 0.5.0 differs: it sums A g^3 over the map instead of computing S g^3, and its division acts on a copy, so
    that its weights are w[c] = sum_ij max(g, 0)^3.

    Args:
        activations: Activations A of the stage, float [n c h w].
        gradients: Gradient g of the logit with respect to A, float [n c h w].

    Returns:
        The CAM, signed, float [n h w].

    >>> activations = torch.tensor([[[[1.0, 1.0]], [[3.0, 0.0]]]])
    >>> gradients = torch.tensor([[[[2.0, 0.0]], [[-1.0, -1.0]]]])
    >>> [[[round(x, 3) for x in row] for row in cam] for cam in grad_cam_pp(activations, gradients).tolist()]
    [[[0.333, 0.333]]]
    """
    positive = torch.relu(gradients)
    total = torch.relu(activations.sum(dim=(2, 3), keepdim=True))
    weights = (positive / (2 + total * positive)).sum(dim=(2, 3))
    return torch.einsum("nc,nchw->nhw", weights, activations)
