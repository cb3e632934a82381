"""Candidates for near copies: pairs of images whose coarse descriptors are similar, also when shifted or mirrored.

A descriptor is the image without brightness and contrast at a low resolution, whitened over the data set, so that two
photographs of a sky are not similar because both are smooth. All pairs are compared by blocks of matrix products.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int64, UInt8
from torch import Tensor
from torch.nn import functional

from firstlight.arrays import Images

SIDE_PX = 32  # images are compared at this size
MARGIN_PX = 3  # largest shift of a copy
Window = tuple[int, int, int]  # first row, first column and side, in pixels
CENTRE: Window = (MARGIN_PX, MARGIN_PX, SIDE_PX - 2 * MARGIN_PX)
# The parts of an image that the centre of its copy may show: those of a shift by 3 pixels, and those of a crop of 90 %
# of the side, from a corner or from the centre.
WINDOWS: tuple[Window, ...] = (
    *((down, right, CENTRE[2]) for down in (0, 3, 6) for right in (0, 3, 6)),
    *((down, right, 24) for down in (3, 6) for right in (3, 6)),
    (4, 4, 24),
)
GRID = 8  # rows and columns of a descriptor
NUM_DIMENSIONS = 64  # length of a whitened descriptor
THRESHOLD = 0.75  # smallest cosine similarity of a candidate
MAX_PER_IMAGE = 8  # candidates of one image; an image with more candidates has little structure
MAX_CANDIDATES = 30_000  # total number of candidates, which bounds the time to align them
BLOCK_SIZE = 4096
WHITENING_IMAGES = 20_000
RIDGE = 0.02  # share of the mean variance that is added before whitening, against noise in fine directions
_BATCH = 2048


@dataclass(frozen=True, eq=False)
class Candidates:
    """Pairs of images that may be copies, each once, the first index smaller than the second.

    Args:
        pairs: Indices of the two images, int64 [m 2].
        is_mirrored: Whether the second image is compared mirrored, bool [m].
        cosines: Largest cosine of the descriptors, float [m].
        is_complete: Whether no pair was left out because there were too many.
    """

    pairs: Int64[Tensor, "m 2"]
    is_mirrored: Bool[Tensor, " m"]
    cosines: Float[Tensor, " m"]
    is_complete: bool = True

    def __len__(self) -> int:
        return len(self.pairs)


def find_candidates(images: Float[Tensor, "n 3 h w"] | Images, threshold: float = THRESHOLD) -> Candidates:
    """Return the pairs of images whose descriptors are similar for one of the windows, mirrored or not.

    The memory is that of the descriptors and of one block of similarities.

    Args:
        images: Images of 32x32 pixels, from `to_common_size`.
        threshold: Smallest cosine.
    """
    whitening = _Whitening.of(images)
    plain = whitening.describe(images, CENTRE, is_mirrored=False)
    found: list[Candidates] = []
    for is_mirrored in (False, True):
        for window in WINDOWS:
            parts = whitening.describe(images, window, is_mirrored=is_mirrored)
            # Of two centres the comparison is symmetric, so that half of it suffices.
            is_symmetric = window == CENTRE
            found += _similar(parts, plain, threshold, is_mirrored=is_mirrored, is_symmetric=is_symmetric)
    return _merged(found)


def to_common_size(images: Images) -> UInt8[Tensor, "n 3 s s"]:
    """Return images reduced or enlarged to 32x32 pixels, uint8 [n 3 32 32].

    Args:
        images: Raw pixels, uint8 [n 3 h w].
    """
    if images.shape[2:] == (SIDE_PX, SIDE_PX):
        return images
    parts = [
        functional.interpolate(batch.float(), (SIDE_PX, SIDE_PX), mode="bilinear", antialias=True)
        .round()
        .to(torch.uint8)
        for batch in images.split(_BATCH)
    ]
    return torch.cat(parts) if parts else images.new_empty(0, 3, SIDE_PX, SIDE_PX)


@dataclass(frozen=True, eq=False)
class _Whitening:
    """The linear map that makes descriptors uncorrelated over the data set."""

    mean: Tensor
    matrix: Tensor

    @staticmethod
    def of(images: Images) -> _Whitening:
        step = max(1, len(images) // WHITENING_IMAGES)
        raw = torch.cat([_raw(batch, CENTRE) for batch in images[::step].split(_BATCH)]).double()
        raw = torch.cat([raw, raw.reshape(-1, 3, GRID, GRID).flip(3).flatten(1)])  # mirror images are as likely
        mean = raw.mean(dim=0)
        covariance = (raw - mean).T @ (raw - mean) / max(1, len(raw))
        variances, directions = torch.linalg.eigh(covariance)
        order = variances.argsort(descending=True)[:NUM_DIMENSIONS]
        ridge = max(RIDGE, raw.shape[1] / max(1, len(raw)))  # few images estimate the covariance badly
        scale = (variances[order].clamp(min=0) + ridge * variances[order].mean() + 1e-12).rsqrt()
        return _Whitening(mean.float(), (directions[:, order] * scale).float())

    def describe(self, images: Images, window: Window, *, is_mirrored: bool) -> Float[Tensor, "n d"]:
        parts = []
        for batch in images.split(_BATCH):
            raw = _raw(batch.flip(3) if is_mirrored else batch, window)
            parts.append(functional.normalize((raw - self.mean) @ self.matrix, dim=1))
        return torch.cat(parts)


def _raw(images: Images, window: Window) -> Float[Tensor, "n d"]:
    """Return a window of each image at a low resolution, without brightness and contrast."""
    down, right, side = window
    part = images[:, :, down : down + side, right : right + side].float()
    low = functional.interpolate(part, (GRID, GRID), mode="bilinear", antialias=True)
    centred = low - low.mean(dim=(2, 3), keepdim=True)
    return functional.normalize(centred.flatten(1), dim=1)


def _similar(
    queries: Float[Tensor, "n d"],
    candidates: Float[Tensor, "n d"],
    threshold: float,
    *,
    is_mirrored: bool,
    is_symmetric: bool,
) -> Iterator[Candidates]:
    """Yield the similar pairs of each block of the matrix of cosines."""
    num = len(queries)
    for top in range(0, num, BLOCK_SIZE):
        rows, columns, values = [], [], []
        for left in range(top if is_symmetric else 0, num, BLOCK_SIZE):
            cosines = queries[top : top + BLOCK_SIZE] @ candidates[left : left + BLOCK_SIZE].T
            found = (cosines >= threshold).nonzero()
            values.append(cosines[found[:, 0], found[:, 1]])
            rows.append(found[:, 0] + top)
            columns.append(found[:, 1] + left)
        first, second, best = torch.cat(rows), torch.cat(columns), torch.cat(values)
        kept = (first < second) if is_symmetric else (first != second)
        first, second, best = first[kept], second[kept], best[kept]
        kept = _is_among_best(first, best)
        pairs = torch.stack([torch.minimum(first, second), torch.maximum(first, second)], dim=1)[kept]
        yield Candidates(pairs, torch.full((len(pairs),), is_mirrored), best[kept])


def _is_among_best(groups: Int64[Tensor, " m"], values: Float[Tensor, " m"]) -> Bool[Tensor, " m"]:
    """Return which entries are among the `MAX_PER_IMAGE` largest of their group."""
    if not len(groups) or int(groups.bincount().max()) <= MAX_PER_IMAGE:
        return torch.ones(len(groups), dtype=torch.bool)
    order = values.argsort(descending=True, stable=True)
    order = order[groups[order].argsort(stable=True)]
    counts = groups.bincount()
    starts = counts.cumsum(0) - counts
    rank = torch.empty_like(groups)
    rank[order] = torch.arange(len(groups)) - starts[groups[order]]
    return rank < MAX_PER_IMAGE


def _merged(found: list[Candidates]) -> Candidates:
    """Return each pair and mirroring once, with its largest cosine, and without the least similar ones of too many."""
    pairs = torch.cat([torch.empty(0, 2, dtype=torch.int64), *(each.pairs for each in found)])
    flags = torch.cat([torch.empty(0, dtype=torch.bool), *(each.is_mirrored for each in found)])
    cosines = torch.cat([torch.empty(0), *(each.cosines for each in found)])
    keys = torch.cat([pairs, flags[:, None].long()], dim=1)
    unique, inverse = keys.unique(dim=0, return_inverse=True)
    best = torch.full((len(unique),), -1.0).scatter_reduce_(0, inverse, cosines, "amax")
    kept = _is_among_best(unique[:, 0], best) | _is_among_best(unique[:, 1], best)
    unique, best = unique[kept], best[kept]
    chosen = best.argsort(descending=True, stable=True)[:MAX_CANDIDATES]
    return Candidates(unique[chosen, :2], unique[chosen, 2].bool(), best[chosen], len(chosen) == len(kept))
