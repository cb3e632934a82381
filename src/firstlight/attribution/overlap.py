"""Evidence overlap: does the map lie on what is known to be the evidence?"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from firstlight.arrays import Masks
from firstlight.attribution.maps import has_positive_evidence, positive_evidence


def energy_inside(maps: Float[Tensor, "n h w"], masks: Masks) -> Float[Tensor, " n"]:
    """Return the share of the positive evidence that lies inside the mask.

        sum_ij max(cam, 0) mask / sum_ij max(cam, 0)

    (The energy-based pointing game: Wang et al. 2020, Score-CAM, arXiv 1910.01279, section 4.3.) An even map
    scores the mask's share of the image.

    Args:
        maps: cams at the size of the masks, signed, float [n h w].
        masks: which pixels show the object, bool [n h w].

    Returns:
        From 0 to 1, float [n]; 0 for a map without positive evidence, which points nowhere.

    >>> energy_inside(torch.tensor([[[3.0, 1.0, -5.0]]]), torch.tensor([[[True, False, True]]])).tolist()
    [0.75]
    """
    energy = positive_evidence(maps)
    total = energy.sum(dim=(1, 2))
    share = (energy * masks).sum(dim=(1, 2)) / torch.where(total > 0, total, 1)
    return torch.where(has_positive_evidence(maps), share, 0)


def pointing_game(maps: Float[Tensor, "n h w"], masks: Masks) -> Bool[Tensor, " n"]:
    """Whether the map's largest value lies inside the mask.

    (Zhang et al. 2016, "Top-down Neural Attention by Excitation Backprop", arXiv 1608.00507, section 4.2, without
    its tolerance of 15 pixels, which is half of a small image.)

    Args:
        maps: cams at the size of the masks, signed, float [n h w]; of equal peaks the first counts.
        masks: which pixels show the object, bool [n h w].

    Returns:
        bool [n]; False for a map without positive evidence.

    >>> pointing_game(torch.tensor([[[3.0, 1.0]], [[3.0, 4.0]]]), torch.tensor([[[True, False]]] * 2)).tolist()
    [True, False]
    """
    peak = maps.flatten(1).argmax(dim=1, keepdim=True)
    return masks.flatten(1).gather(1, peak)[:, 0] & has_positive_evidence(maps)
