"""Overlap of a map with a mask of the object that decides the class."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from firstlight.arrays import Masks
from firstlight.attribution.maps import has_positive_evidence, positive_evidence


def energy_inside(maps: Float[Tensor, "n h w"], masks: Masks) -> Float[Tensor, " n"]:
    """Return the share of the positive evidence that lies inside the mask.

        sum_ij max(cam, 0) mask / sum_ij max(cam, 0)

    This is the energy-based pointing game of Wang et al. 2020 (Score-CAM, arXiv 1910.01279, section 4.3). A constant
    map scores the share of the image that the mask covers.

    Args:
        maps: CAMs at the size of the masks, signed, float [n h w].
        masks: Pixels that show the object, bool [n h w].

    Returns:
        Shares from 0 to 1, float [n]; 0 for a map without positive evidence.

    >>> energy_inside(torch.tensor([[[3.0, 1.0, -5.0]]]), torch.tensor([[[True, False, True]]])).tolist()
    [0.75]
    """
    energy = positive_evidence(maps)
    total = energy.sum(dim=(1, 2))
    share = (energy * masks).sum(dim=(1, 2)) / torch.where(total > 0, total, 1)
    return torch.where(has_positive_evidence(maps), share, 0)


def pointing_game(maps: Float[Tensor, "n h w"], masks: Masks) -> Bool[Tensor, " n"]:
    """Whether the largest value of each map lies inside the mask.

    Zhang et al. 2016, "Top-down Neural Attention by Excitation Backprop", arXiv 1608.00507, section 4.2, without the
    paper's tolerance of 15 pixels, which is half the width of a small image.

    Args:
        maps: CAMs at the size of the masks, signed, float [n h w]; among equal peaks the first counts.
        masks: Pixels that show the object, bool [n h w].

    Returns:
        One value for each map, bool [n]; False for a map without positive evidence.

    >>> pointing_game(torch.tensor([[[3.0, 1.0]], [[3.0, 4.0]]]), torch.tensor([[[True, False]]] * 2)).tolist()
    [True, False]
    """
    peak = maps.flatten(1).argmax(dim=1, keepdim=True)
    return masks.flatten(1).gather(1, peak)[:, 0] & has_positive_evidence(maps)
