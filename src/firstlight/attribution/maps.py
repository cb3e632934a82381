"""Operations on class activation maps: positive part, test for a positive part, bilinear enlargement."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

NOISE = 1e-6  # share of a map's largest absolute value below which a positive value is a rounding error


def positive_evidence(maps: Float[Tensor, "n h w"]) -> Float[Tensor, "n h w"]:
    """Return the evidence for the class, `max(cam, 0)`: the ReLU of Grad-CAM (arXiv 1610.02391, equation 2).

    Args:
        maps: CAMs, signed, float [n h w].

    >>> positive_evidence(torch.tensor([[[-1.0, 2.0]]])).tolist()
    [[[0.0, 2.0]]]
    """
    return torch.relu(maps)


def has_positive_evidence(maps: Float[Tensor, "n h w"]) -> Bool[Tensor, " n"]:
    """Whether each map has a positive value beyond rounding.

    Args:
        maps: CAMs, signed, float [n h w].

    Returns:
        True where the largest value exceeds a millionth of the largest absolute value, bool [n].

    >>> has_positive_evidence(torch.tensor([[[-1.0, 2.0]], [[-1.0, 1e-9]], [[0.0, 0.0]]])).tolist()
    [True, False, False]
    """
    return maps.amax(dim=(1, 2)) > NOISE * maps.abs().amax(dim=(1, 2))


def upsample(maps: Float[Tensor, "n h w"], size_px: tuple[int, int]) -> Float[Tensor, "n height width"]:
    """Enlarge maps bilinearly; a cell's value lies at the centre of the pixels that the cell covers.

    Args:
        maps: CAMs, float [n h w].
        size_px: Height and width of the result in pixels.

    Returns:
        Enlarged maps, float [n height width], within the range of the cells' values.

    >>> upsample(torch.tensor([[[0.0, 4.0]]]), (1, 4)).tolist()
    [[[0.0, 1.0, 3.0, 4.0]]]
    """
    return F.interpolate(maps[:, None], size=size_px, mode="bilinear", align_corners=False)[:, 0]
