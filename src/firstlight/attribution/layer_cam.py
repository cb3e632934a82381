"""LayerCAM: the sum over the channels of activation times positive gradient, cell by cell."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from firstlight.attribution.hires_cam import hires_cam


def layer_cam(activations: Float[Tensor, "n c h w"], gradients: Float[Tensor, "n c h w"]) -> Float[Tensor, "n h w"]:
    """Return LayerCAM: activation times the gradient's positive part in each cell, summed over the channels.

        cam[i,j] = sum_c max(g[c,i,j], 0) A[c,i,j]

    Jiang et al. 2021, "LayerCAM: Exploring Hierarchical Class Activation Maps for Localization", IEEE Transactions on
    Image Processing 30, section III-B. The paper's final ReLU is not applied; use `positive_evidence`. The map can be
    negative, because batch norm after a ReLU makes some activations negative.

    Args:
        activations: Activations A of the stage, float [n c h w].
        gradients: Gradient g of the target score with respect to A, float [n c h w].

    Returns:
        The CAM, signed, in units of the score, float [n h w].

    >>> activations = torch.tensor([[[[1.0, 2.0]], [[3.0, 0.0]]]])
    >>> gradients = torch.tensor([[[[4.0, 0.0]], [[-1.0, -1.0]]]])
    >>> layer_cam(activations, gradients).tolist()  # the second channel's gradient is negative
    [[[4.0, 0.0]]]
    """
    return hires_cam(activations, torch.relu(gradients))
