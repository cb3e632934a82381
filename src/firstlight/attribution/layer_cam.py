"""LayerCAM: every activation is weighted by its own gradient where that is positive."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from firstlight.attribution.hires_cam import hires_cam


def layer_cam(activations: Float[Tensor, "n c h w"], gradients: Float[Tensor, "n c h w"]) -> Float[Tensor, "n h w"]:
    """Multiply activation and positive part of the gradient cell by cell, then sum the channels.

        cam[i,j] = sum_c max(g[c,i,j], 0) A[c,i,j]

    (Jiang et al. 2021, "LayerCAM: Exploring Hierarchical Class Activation Maps for Localization", IEEE
    Transactions on Image Processing 30, section III-B. The paper ends in a ReLU, which is left to
    `positive_evidence`: batch norm after ReLU makes activations, and so this map, negative in places.)

    Args:
        activations: A, what the stage gave out, float [n c h w].
        gradients: g, the target score's gradient by A, float [n c h w].

    Returns:
        The cam, signed, in units of the score, float [n h w].

    >>> activations = torch.tensor([[[[1.0, 2.0]], [[3.0, 0.0]]]])
    >>> gradients = torch.tensor([[[[4.0, 0.0]], [[-1.0, -1.0]]]])
    >>> layer_cam(activations, gradients).tolist()  # the second channel speaks against the class
    [[[4.0, 0.0]]]
    """
    return hires_cam(activations, torch.relu(gradients))
