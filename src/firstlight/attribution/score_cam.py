"""Score-CAM: the sum of the channels, each weighted by the score of the image masked with it."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from firstlight.arrays import UnitImages
from firstlight.attribution.maps import upsample
from firstlight.attribution.network_queries import Score


def score_cam(
    score: Score, images: UnitImages, activations: Float[Tensor, "n c rows columns"], covered: UnitImages
) -> Float[Tensor, "n rows columns"]:
    """Return Score-CAM: the sum of the channels, weighted by the softmax of the scores of masked images.

        H[c] = (up(A[c]) - min up(A[c])) / (max up(A[c]) - min up(A[c]))
        w = softmax_c(score(x H[c] + b (1 - H[c])) - score(b))        cam[i,j] = sum_c w[c] A[c,i,j]

    Wang et al. 2020, arXiv 1910.01279, equations 5 to 8. Masked pixels take the colour of the covered image b, which
    the paper sets to zero after normalization. The paper's final ReLU is not applied. A constant channel has
    the weight zero, because its mask carries no information. The method costs a forward pass for each channel.

    Args:
        score: Function from images, float [n 3 h w], to the target score of each, float [n].
        images: RGB in [0, 1], x, float [n 3 h w].
        activations: Activations A of the stage, float [n c rows columns].
        covered: The images with all pixels covered, b, float [n 3 h w].

    Returns:
        The CAM, in units of the activations, float [n rows columns].
    """
    size_px = (images.shape[2], images.shape[3])
    is_constant = activations.amax(dim=(2, 3)) == activations.amin(dim=(2, 3))
    scores = []
    for channel in activations.unbind(dim=1):
        mask = _to_unit_range(upsample(channel, size_px))
        scores.append(score(covered + (images - covered) * mask[:, None]))
    increase = (torch.stack(scores, dim=1) - score(covered)[:, None]).masked_fill(is_constant, -torch.inf)
    weights = increase.softmax(dim=1)
    return torch.einsum("nc,nchw->nhw", weights.nan_to_num(0.0), activations)


def _to_unit_range(masks: Float[Tensor, "n h w"]) -> Float[Tensor, "n h w"]:
    low, high = masks.amin(dim=(1, 2), keepdim=True), masks.amax(dim=(1, 2), keepdim=True)
    return (masks - low) / torch.where(high > low, high - low, 1)
