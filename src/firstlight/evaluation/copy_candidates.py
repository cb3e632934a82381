"""Candidates for near copies: pairs of images whose coarse descriptors are similar, also when shifted or mirrored.

A descriptor is the image without brightness and contrast at a low resolution, whitened over the data set, so that two
photographs of a sky are not similar because both are smooth. All pairs are compared by blocks of matrix products. A
block first gives an upper bound of each cosine from part of the descriptor, and only the few pairs whose bound reaches
the threshold are compared in full.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch
from jaxtyping import Bool, Float, Int64, UInt8
from torch import Tensor
from torch.nn import functional

from firstlight.arrays import Images

SIDE_PX = 32  # images are compared at this size
MARGIN_PX = 3  # largest shift of a copy
Window = tuple[int, int, int]  # first row, first column and side, in pixels
CENTRE: Window = (MARGIN_PX, MARGIN_PX, SIDE_PX - 2 * MARGIN_PX)
# The parts of an image that the centre of its copy may show: after a shift by 3 pixels, and in a crop of 90 % of the
# side, from a corner or from the centre.
CROPPED: tuple[Window, ...] = (*((down, right, 24) for down in (3, 6) for right in (3, 6)), (4, 4, 24))
# Each comparison: the window, whether the image is mirrored, and whether each pair is compared once instead of in both
# orders. A shift of one image is the opposite shift of the other one, so that half of the shifts suffice; mirroring
# keeps the direction of a horizontal shift.
COMPARISONS: tuple[tuple[Window, bool, bool], ...] = (
    (CENTRE, False, True),
    *(((*start, CENTRE[2]), False, False) for start in ((3, 6), (6, 0), (6, 3), (6, 6))),
    *(((3, right, CENTRE[2]), True, True) for right in (0, 3, 6)),
    *(((6, right, CENTRE[2]), True, False) for right in (0, 3, 6)),
    *((window, is_mirrored, False) for window in CROPPED for is_mirrored in (False, True)),
)
GRID = 8  # rows and columns of a descriptor
NUM_DIMENSIONS = 64  # length of a whitened descriptor
THRESHOLD = 0.75  # smallest cosine similarity of a candidate
MAX_PER_IMAGE = 8  # candidates of one image; an image with more candidates has little structure
MAX_CANDIDATES = 30_000  # total number of candidates, which bounds the time to align them
NUM_BOUNDING = 47  # leading dimensions of a descriptor that a bound uses; the norm of the others is its last value
BLOCK_ROWS, BLOCK_COLUMNS = 2048, 512  # a block of bounds stays in the processor's cache
ROUNDING = 1e-5  # of a product
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


def find_candidates(
    images: Images, threshold: float = THRESHOLD, progress: Callable[[int, int], None] | None = None
) -> Candidates:
    """Return the pairs of images whose descriptors are similar for one of the windows, mirrored or not.

    The memory is that of the descriptors and of one block of similarities.

    Args:
        images: Images of 32x32 pixels, from `to_common_size`.
        threshold: Smallest cosine.
        progress: Called with the number of comparisons done, each of one window of all images, and of all.
    """
    whitening = _Whitening.of(images)
    centres = whitening.describe(images, CENTRE, is_mirrored=False)
    found: list[Candidates] = []
    for window, is_mirrored, is_symmetric in COMPARISONS:
        parts = whitening.describe(images, window, is_mirrored=is_mirrored)
        pairs, cosines = similar_pairs(parts, centres, threshold, is_symmetric=is_symmetric)
        found.append(Candidates(pairs, torch.full((len(pairs),), is_mirrored), cosines))
        if progress is not None:
            progress(len(found), len(COMPARISONS))
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
    reduction = _reduction(side)
    low = ((part @ reduction).transpose(2, 3) @ reduction).transpose(2, 3)
    centred = low - low.mean(dim=(2, 3), keepdim=True)
    return functional.normalize(centred.flatten(1), dim=1)


@cache
def _reduction(side_px: int) -> Float[Tensor, "s g"]:
    """Return the matrix that reduces a side to the grid, as antialiased bilinear interpolation does."""
    rows = functional.interpolate(torch.eye(side_px)[None, None], (GRID, side_px), mode="bilinear", antialias=True)
    return rows[0, 0].T.contiguous()


def similar_pairs(
    queries: Float[Tensor, "n d"], centres: Float[Tensor, "n d"], threshold: float, *, is_symmetric: bool
) -> tuple[Int64[Tensor, "m 2"], Float[Tensor, " m"]]:
    """Return the pairs of different images whose cosine reaches the threshold, at most `MAX_PER_IMAGE` of each query.

    No pair is missed: for unit vectors q and c whose first k values are q1 and c1 and whose others are q2 and c2, the
    Cauchy-Schwarz inequality gives the bound

        q . c <= q1 . c1 + |q2| |c2|

    Args:
        queries: Unit descriptors of one window of each image, float [n d].
        centres: Unit descriptors of the centre of each image, float [n d].
        threshold: Smallest cosine.
        is_symmetric: Whether (i, j) and (j, i) are the same comparison, so that i < j suffices.

    Returns:
        The two indices of each pair, the smaller one first, int64 [m 2], and its cosine, float [m].
    """
    bounding_queries, bounding_centres = _bounding(queries), _bounding(centres)
    pairs, cosines = [torch.empty(0, 2, dtype=torch.int64)], [torch.empty(0)]
    for top in range(0, len(queries), BLOCK_ROWS):
        rows = bounding_queries[top : top + BLOCK_ROWS]
        promising = [
            _reaching(rows, bounding_centres[left : left + BLOCK_COLUMNS], threshold) + torch.tensor([top, left])
            for left in range(top if is_symmetric else 0, len(queries), BLOCK_COLUMNS)
        ]
        first, second = torch.cat(promising).unbind(dim=1)
        values = (queries[first] * centres[second]).sum(dim=1)
        kept = (values >= threshold) & ((first < second) if is_symmetric else (first != second))
        first, second, values = first[kept], second[kept], values[kept]
        kept = _is_among_best(first, values)
        pairs.append(torch.stack([torch.minimum(first, second), torch.maximum(first, second)], dim=1)[kept])
        cosines.append(values[kept])
    return torch.cat(pairs), torch.cat(cosines)


def _bounding(descriptors: Float[Tensor, "n d"]) -> Float[Tensor, "n k"]:
    """Return vectors whose products are at least those of the descriptors."""
    rest = descriptors[:, NUM_BOUNDING:].norm(dim=1, keepdim=True)
    return torch.cat([descriptors[:, :NUM_BOUNDING], rest], dim=1)


def _reaching(rows: Float[Tensor, "n k"], columns: Float[Tensor, "m k"], threshold: float) -> Int64[Tensor, "h 2"]:
    """Return row and column of the products that reach the threshold, without rounding errors that would hide one."""
    products = rows @ columns.T
    hits = (products.amax(dim=1) >= threshold - ROUNDING).nonzero().flatten()  # few rows have any
    found = (products[hits] >= threshold - ROUNDING).nonzero()
    return torch.stack([hits[found[:, 0]], found[:, 1]], dim=1)


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
