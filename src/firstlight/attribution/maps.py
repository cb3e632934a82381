"""What can be done with a cam without spoiling it: keep its positive part, ask whether it has one, enlarge it."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

NOISE = 1e-6  # of a map's largest absolute value: below this a positive cell is rounding


def positive_evidence(maps: Float[Tensor, "n h w"]) -> Float[Tensor, "n h w"]:
    """Keep what speaks for the class: `max(cam, 0)`, the ReLU that ends Grad-CAM (arXiv 1610.02391, equation 2).

    >>> positive_evidence(torch.tensor([[[-1.0, 2.0]]])).tolist()
    [[[0.0, 2.0]]]
    """
    return torch.relu(maps)


def has_positive_evidence(maps: Float[Tensor, "n h w"]) -> Bool[Tensor, " n"]:
    """Whether anything in a map speaks for the class, rounding apart.

    Args:
        maps: cams, signed, float [n h w].

    Returns:
        True where the largest cell is above a millionth of the largest absolute value, bool [n].

    >>> has_positive_evidence(torch.tensor([[[-1.0, 2.0]], [[-1.0, 1e-9]], [[0.0, 0.0]]])).tolist()
    [True, False, False]
    """
    return maps.amax(dim=(1, 2)) > NOISE * maps.abs().amax(dim=(1, 2))


def upsample(maps: Float[Tensor, "n h w"], size_px: tuple[int, int]) -> Float[Tensor, "n height width"]:
    """Enlarge bilinearly: each cell's value stands at the middle of the cell's pixels.

    Args:
        maps: cams, float [n h w].
        size_px: height and width to reach.

    Returns:
        float [n height width], no value above the largest cell or below the smallest.

    >>> upsample(torch.tensor([[[0.0, 4.0]]]), (1, 4)).tolist()
    [[[0.0, 1.0, 3.0, 4.0]]]
    """
    return F.interpolate(maps[:, None], size=size_px, mode="bilinear", align_corners=False)[:, 0]
