"""SmoothGrad: the absolute gradient with respect to the pixels, averaged over noisy copies of the image."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from firstlight.arrays import UnitImages
from firstlight.attribution.network_queries import Gradient

NUM_SAMPLES = 32
NOISE = 0.15  # standard deviation, relative to the range of the image; the paper recommends 0.1 to 0.2


def smooth_grad(
    gradient: Gradient, images: UnitImages, *, num_samples: int = NUM_SAMPLES, noise: float = NOISE, seed: int = 0
) -> Float[Tensor, "n h w"]:
    """Return SmoothGrad: the absolute value of the mean gradient of noisy images, summed over the colours.

        map[i,j] = sum_rgb | 1/m sum_{k=1}^m  d score / d x  at  x + e_k |,    e_k ~ N(0, (noise range(x))^2)

    Smilkov et al. 2017, arXiv 1706.03825, section 3; section 3.1 takes the absolute value. The map is never negative:
    it shows which pixels the score is sensitive to, not whether they are evidence for or against the class. The method
    costs `num_samples` forward and backward passes.

    Args:
        gradient: Function from images to the gradient of the target score with respect to their pixels, float
            [n 3 h w].
        images: RGB in [0, 1], x, float [n 3 h w].
        num_samples: Number m of noisy copies.
        noise: Standard deviation of the noise, relative to the range of each image's values.
        seed: Seed of the noise.

    Returns:
        The map, not negative, in units of the score per unit of the pixel value, float [n h w].

    >>> smooth_grad(lambda x: torch.full_like(x, -2.0), torch.rand(1, 3, 1, 2)).tolist()
    [[[6.0, 6.0]]]
    """
    draw = torch.Generator().manual_seed(seed)
    flat = images.flatten(1)
    deviation = noise * (flat.amax(dim=1) - flat.amin(dim=1))[:, None, None, None]
    total = torch.zeros_like(images)
    for _ in range(num_samples):
        # The same noise for all images, so that a map does not depend on the other images of its batch.
        normal = torch.randn(images.shape[1:], generator=draw).to(images)
        total += gradient(images + deviation * normal)
    return (total / num_samples).abs().sum(dim=1)
