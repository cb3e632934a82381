"""Ablation-CAM: the sum of the channels, each weighted by how far the score falls without it."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor


def ablation_cam(
    score_of_activations: Callable[[Tensor], Float[Tensor, " n"]], activations: Float[Tensor, "n c h w"]
) -> Float[Tensor, "n h w"]:
    """Return Ablation-CAM: the sum of the channels, each weighted by the fall of the score when it is set to zero.

        w[c] = score(A) - score(A with A[c] = 0)        cam[i,j] = sum_c w[c] A[c,i,j]

    Ramaswamy and Desai 2020, "Ablation-CAM: Visual Explanations for Deep Convolutional Network via Gradient-free
    Localization", WACV 2020, equations 3 and 4. The paper divides the weights by the score; the division is left out,
    because it only scales the map, and reverses its sign if the score is negative. The final ReLU is not applied. The
    method costs one forward pass for each channel.

    Args:
        score_of_activations: Function from activations that replace the stage's output to the target score of each
            image, float [n].
        activations: Activations A of the stage, float [n c h w].

    Returns:
        The CAM, signed, in units of the score times those of the activations, float [n h w].

    >>> activations = torch.tensor([[[[1.0, 2.0]], [[3.0, 0.0]]]])
    >>> mean_of_first = lambda activations: activations[:, 0].mean(dim=(1, 2))
    >>> ablation_cam(mean_of_first, activations).tolist()  # weights 1.5 and 0
    [[[1.5, 3.0]]]
    """
    complete = score_of_activations(activations)
    weights = []
    for channel in range(activations.shape[1]):
        ablated = activations.clone()
        ablated[:, channel] = 0
        weights.append(complete - score_of_activations(ablated))
    return torch.einsum("nc,nchw->nhw", torch.stack(weights, dim=1), activations)
