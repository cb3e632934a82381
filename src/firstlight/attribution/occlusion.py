"""Occlusion: how far the score falls when a window of the image is covered."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from firstlight.arrays import UnitImages
from firstlight.attribution.network_queries import Score


def occlusion(
    score: Score,
    images: UnitImages,
    covered: UnitImages,
    *,
    window_px: int | None = None,
    stride_px: int | None = None,
) -> Float[Tensor, "n h w"]:
    """Return occlusion maps: the fall of the score when a window is covered, averaged over a pixel's windows.

        map[i,j] = mean over the windows R that contain i,j of  score(x) - score(x with R covered)

    Zeiler and Fergus 2014, arXiv 1311.2901, section 4.2; the paper maps the scores, not their decrease. The method
    costs a forward pass for the image and for each position of the window: 49 at the default size and stride.

    Args:
        score: Function from images, float [n 3 h w], to the target score of each, float [n].
        images: RGB in [0, 1], x, float [n 3 h w].
        covered: The images with all pixels covered, float [n 3 h w].
        window_px: Side of the square window; None means a quarter of the smaller side.
        stride_px: Distance of neighbouring windows; None means half a window. The last window of a row ends at the
            border.

    Returns:
        The map, signed, in units of the score, float [n h w].

    >>> image = torch.tensor([0.0, 1.0]).expand(1, 3, 1, 2)
    >>> sum_of_red = lambda images: images[:, 0].sum(dim=(1, 2))
    >>> occlusion(sum_of_red, image, torch.zeros_like(image), window_px=1).tolist()
    [[[0.0, 1.0]]]
    """
    height, width = images.shape[2:]
    window_px = window_px or max(1, min(height, width) // 4)
    stride_px = stride_px or max(1, window_px // 2)
    total, counts = torch.zeros_like(images[:, 0]), torch.zeros_like(images[0, 0])
    complete = score(images)
    for top in positions(height, window_px, stride_px):
        for left in positions(width, window_px, stride_px):
            window = (..., slice(top, top + window_px), slice(left, left + window_px))
            changed = images.clone()
            changed[window] = covered[window]
            total[window] += (complete - score(changed))[:, None, None]
            counts[window] += 1
    return total / counts


def positions(length_px: int, window_px: int, stride_px: int) -> list[int]:
    """Return the first pixel of each window along a line; the last window ends at the end of the line.

    >>> positions(10, 4, 4)
    [0, 4, 6]
    """
    last = max(0, length_px - window_px)
    return [*range(0, last, stride_px), last]
