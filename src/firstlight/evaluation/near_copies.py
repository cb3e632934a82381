"""Near copies: shifted, mirrored, cropped, compressed, brightened or resized versions of one image."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from firstlight.arrays import Images
from firstlight.evaluation.copy_alignment import aligned_similarity
from firstlight.evaluation.copy_candidates import find_candidates, to_common_size

SIMILAR = 0.9  # similarity from which two images are near copies
_BATCH = 2048
MAX_COLOUR_DIFFERENCE = 0.15  # largest difference of the mean colours without brightness, in [0, 1]


@dataclass(frozen=True, eq=False)
class NearCopies:
    """Pairs of near copies.

    Args:
        pairs: Indices of two images each, the smaller one first, int64 [m 2].
        similarities: Similarity of each pair after the best alignment, at most 1, float64 [m].
        num_candidates: Number of pairs that were aligned.
        is_complete: Whether no candidate was left out because there were too many.
    """

    pairs: Int64[Tensor, "m 2"]
    similarities: Float64[Tensor, " m"]
    num_candidates: int
    is_complete: bool


def find_near_copies(images: Images, similar: float = SIMILAR) -> NearCopies:
    """Find the pairs of images that are the same picture, possibly shifted, mirrored, cropped or compressed.

    Coarse descriptors of all pairs are compared first; the similar ones are then aligned and compared pixel by pixel. A
    change of brightness and contrast is allowed, a change of colour is not.

    Args:
        images: Raw pixels, uint8 [n 3 h w]; exact copies are found, too.
        similar: Smallest similarity of near copies.

    >>> pictures = torch.randint(0, 256, (40, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    >>> pictures[7] = pictures[3].flip(2)
    >>> find_near_copies(pictures).pairs.tolist()
    [[3, 7]]
    """
    if len(images) < 2:
        empty = torch.empty(0, 2, dtype=torch.int64)
        return NearCopies(empty, torch.empty(0, dtype=torch.float64), 0, is_complete=True)
    small = to_common_size(images)
    candidates = find_candidates(small)
    similarities = aligned_similarity(small, candidates.pairs, candidates.is_mirrored)
    means = torch.cat([batch.float().mean(dim=(2, 3)) / 255 for batch in small.split(_BATCH)])
    colours = means - means.mean(dim=1, keepdim=True)
    differences = (colours[candidates.pairs[:, 0]] - colours[candidates.pairs[:, 1]]).norm(dim=1)
    kept = (similarities >= similar) & (differences <= MAX_COLOUR_DIFFERENCE)
    pairs, inverse = candidates.pairs[kept].unique(dim=0, return_inverse=True)
    best = torch.full((len(pairs),), -1.0, dtype=torch.float64)
    best = best.scatter_reduce_(0, inverse, similarities[kept], "amax")
    return NearCopies(pairs, best, len(candidates), candidates.is_complete)
