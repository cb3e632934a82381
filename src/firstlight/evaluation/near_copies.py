"""Near copies: shifted, mirrored, cropped, compressed, brightened or resized versions of one image."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from firstlight.arrays import Images
from firstlight.evaluation.copy_alignment import aligned_similarity
from firstlight.evaluation.copy_candidates import find_candidates, to_common_size

SIMILAR = 0.9  # similarity from which two images are near copies
_BATCH = 2048
ALIGNING_FROM = 0.75  # share of the time after which candidates are aligned
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


def find_near_copies(
    images: Images, similar: float = SIMILAR, progress: Callable[[int, int], None] | None = None
) -> NearCopies:
    """Find the pairs of images that are the same picture, possibly shifted, mirrored, cropped or compressed.

    Coarse descriptors of all pairs are compared first; the similar ones are then aligned and compared pixel by pixel. A
    change of brightness and contrast is allowed, a change of colour is not.

    Args:
        images: Raw pixels, uint8 [n 3 h w]; exact copies are found, too.
        similar: Smallest similarity of near copies.
        progress: Called with the share of the work that is done, as a number of images, and the number of all images.

    >>> pictures = torch.randint(0, 256, (40, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    >>> pictures[7] = pictures[3].flip(2)
    >>> find_near_copies(pictures).pairs.tolist()
    [[3, 7]]
    """
    if len(images) < 2:
        empty = torch.empty(0, 2, dtype=torch.int64)
        return NearCopies(empty, torch.empty(0, dtype=torch.float64), 0, is_complete=True)
    small = to_common_size(images)
    stages = [_Stage(progress, len(images), *part) for part in ((0.0, ALIGNING_FROM), (ALIGNING_FROM, 1.0))]
    candidates = find_candidates(small, progress=stages[0])
    similarities = aligned_similarity(small, candidates.pairs, candidates.is_mirrored, stages[1])
    means = torch.cat([batch.float().mean(dim=(2, 3)) / 255 for batch in small.split(_BATCH)])
    colours = means - means.mean(dim=1, keepdim=True)
    differences = (colours[candidates.pairs[:, 0]] - colours[candidates.pairs[:, 1]]).norm(dim=1)
    kept = (similarities >= similar) & (differences <= MAX_COLOUR_DIFFERENCE)
    pairs, inverse = candidates.pairs[kept].unique(dim=0, return_inverse=True)
    best = torch.full((len(pairs),), -1.0, dtype=torch.float64)
    best = best.scatter_reduce_(0, inverse, similarities[kept], "amax")
    return NearCopies(pairs, best, len(candidates), candidates.is_complete)


@dataclass(frozen=True)
class _Stage:
    """Reports the progress of one part of the work as that of the whole."""

    progress: Callable[[int, int], None] | None
    num_images: int
    start: float
    end: float

    def __call__(self, done: int, total: int) -> None:
        if self.progress is not None:
            share = self.start + (self.end - self.start) * done / total
            self.progress(round(share * self.num_images), self.num_images)
