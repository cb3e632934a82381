"""Integrated Gradients: the gradient along the line from a baseline image to the image, times their difference."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from firstlight.arrays import UnitImages
from firstlight.attribution.network_queries import Gradient

NUM_STEPS = 32


def integrated_gradients(
    gradient: Gradient, images: UnitImages, covered: UnitImages, *, num_steps: int = NUM_STEPS
) -> Float[Tensor, "n h w"]:
    """Return Integrated Gradients, summed over the colours: the contribution of each pixel to the score.

        map[i,j] = sum_rgb (x - b) 1/m sum_{k=1}^m  d score / d x  at  b + (k - 1/2)/m (x - b)

    Sundararajan et al. 2017, arXiv 1703.01365, equations 1 and 3, with the midpoint rule. The pixels of the map sum to
    the score of the image minus that of the baseline, up to the error of the midpoint rule. The method costs
    `num_steps` forward and backward passes.

    Args:
        gradient: Function from images to the gradient of the target score with respect to their pixels, float
            [n 3 h w].
        images: RGB in [0, 1], x, float [n 3 h w].
        covered: Baseline b, the images with all pixels covered, float [n 3 h w].
        num_steps: Number m of points on the line.

    Returns:
        The map, signed, in units of the score, float [n h w].

    >>> images = torch.tensor([0.5, 1.0]).expand(1, 3, 1, 2)
    >>> integrated_gradients(lambda x: 2 * x, images, torch.zeros_like(images)).tolist()  # score: the sum of squares
    [[[0.75, 3.0]]]
    """
    difference = images - covered
    total = torch.zeros_like(images)
    for step in range(num_steps):
        total += gradient(covered + (step + 0.5) / num_steps * difference)
    return (difference * total / num_steps).sum(dim=1)
