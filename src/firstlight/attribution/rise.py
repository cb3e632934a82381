"""RISE: how far the score depends on a pixel, estimated from images under random masks."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from firstlight.arrays import UnitImages
from firstlight.attribution.network_queries import Score

NUM_MASKS = 500
GRID = 7  # cells along a side of a mask, as in the paper
SHARE_SHOWN = 0.5  # share of the cells that show the image


def rise(
    score: Score, images: UnitImages, covered: UnitImages, *, num_masks: int = NUM_MASKS, seed: int = 0
) -> Float[Tensor, "n h w"]:
    """Return RISE: the mean of random masks, each weighted by the score of the image under it.

        map[i,j] = 1/(p N) sum_{k=1}^N (score(x M_k + b (1 - M_k)) - mean score) M_k[i,j]

    Petsiuk et al. 2018, arXiv 1806.07421, equation 6. The paper weights by the probability; here the weight is the
    target score minus its mean over the masks, so that a pixel that is evidence against the class has a negative
    value. The method costs a forward pass for each mask.

    Args:
        score: Function from images, float [n 3 h w], to the target score of each, float [n].
        images: RGB in [0, 1], x, float [n 3 h w].
        covered: The images with all pixels covered, b, float [n 3 h w].
        num_masks: Number N of masks; the paper takes 4,000 to 8,000 for images of 224 pixels.
        seed: Seed of the masks, which all images share.

    Returns:
        The map, signed, in units of the score, float [n h w].
    """
    masks = random_masks(num_masks, (images.shape[2], images.shape[3]), seed).to(images)
    scores = torch.stack([score(covered + (images - covered) * mask) for mask in masks], dim=1)
    centred = scores - scores.mean(dim=1, keepdim=True)
    return torch.einsum("nk,khw->nhw", centred, masks) / (SHARE_SHOWN * num_masks)


def random_masks(num_masks: int, size_px: tuple[int, int], seed: int = 0) -> Float[Tensor, "k h w"]:
    """Return smooth random masks: grids of 0 and 1, enlarged bilinearly by more than a cell and shifted at random.

    Petsiuk et al. 2018, section 3.2. Half of the cells are 1.

    Args:
        num_masks: Number k of masks.
        size_px: Height and width of the masks.
        seed: Seed of the grids and shifts.

    Returns:
        Masks in [0, 1], float32 [k h w].

    >>> random_masks(2, (32, 32)).shape
    torch.Size([2, 32, 32])
    """
    draw = torch.Generator().manual_seed(seed)
    cell_px = [-(-side // GRID) for side in size_px]
    large = [(GRID + 1) * cell for cell in cell_px]
    grids = (torch.rand(num_masks, 1, GRID, GRID, generator=draw) < SHARE_SHOWN).float()
    enlarged = F.interpolate(grids, size=large, mode="bilinear", align_corners=False)[:, 0]
    tops, lefts = (torch.randint(0, cell, (num_masks,), generator=draw).tolist() for cell in cell_px)
    height, width = size_px
    return torch.stack(
        [mask[top : top + height, left : left + width] for mask, top, left in zip(enlarged, tops, lefts, strict=True)]
    )
