"""Similarity of two images after the best alignment: shifted by a few pixels, or one a crop of the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Float64, Int64
from torch import Tensor
from torch.nn import functional

from firstlight.arrays import Images, UnitImages

MAX_SHIFT_PX = 3
CROP_SIDES_PX = (30, 29, 28)  # sides of the crops that are tried, of 32 pixels
NOISE_LEVEL = 1.5 / 255  # level of rounding and compression noise, below which structure is ignored
COARSE_PX, FINE_PX = 3.0, 0.7  # standard deviations of the two blurs between which structure is compared
PROMISING = 0.5  # similarity from which the best alignment is evaluated again
_BATCH = 256


@dataclass(frozen=True)
class _Alignment:
    """An alignment of two images.

    Args:
        side_px: Side to which the second image is reduced; 32 for a shift.
        first: Rows and columns of the first image.
        second: Rows and columns of the second image.
        is_swapped: Whether the first image is reduced instead.
    """

    side_px: int
    first: tuple[slice, slice]
    second: tuple[slice, slice]
    is_swapped: bool = False


def aligned_similarity(
    images: Images,
    pairs: Int64[Tensor, "m 2"],
    is_mirrored: Bool[Tensor, " m"],
    progress: Callable[[int, int], None] | None = None,
) -> Float64[Tensor, " m"]:
    """Return the similarity of each pair of images at its best alignment, at most 1, float64 [m].

    The similarity is the normalized cross-correlation of the structure of the two images: the difference of two blurs,
    from which brightness and contrast drop out. It is the largest over the shifts of up to 3 pixels and over the crops
    of one image in the other.

        s = sum(a b) / (sqrt(sum(a^2) sum(b^2)) + N e^2)

    a and b are the structures of all three channels where the images overlap, N is their number of values, and e the
    noise level, so that images without structure are similar to nothing.

    Args:
        images: Images of 32x32 pixels, uint8 [n 3 32 32].
        pairs: Indices of two images each, int64 [m 2].
        is_mirrored: Whether the second image of each pair is mirrored first, bool [m].
        progress: Called with the number of pairs compared and the number of all pairs.
    """
    alignments = list(_alignments(images.shape[2]))
    best, chosen = torch.empty(len(pairs)), torch.empty(len(pairs), dtype=torch.int64)
    for start in range(0, len(pairs), _BATCH):
        rows = slice(start, start + _BATCH)
        first, second = _pictures(images, pairs[rows], is_mirrored[rows])
        best[rows], chosen[rows] = torch.cat(list(_similarities(first, second)), dim=1).max(dim=1)
        if progress is not None:
            progress(min(start + _BATCH, len(pairs)), len(pairs))
    # Pixels that a shift brings in disturb the structure near them, so the overlap is compared again without them.
    promising = best > PROMISING
    for number in chosen[promising].unique().tolist():
        for rows in (promising & (chosen == number)).nonzero().flatten().split(_BATCH):
            a, b = _overlap_of(*_pictures(images, pairs[rows], is_mirrored[rows]), alignments[number])
            best[rows] = torch.maximum(best[rows], _correlation(structure(a), structure(b)))
    return best.double()


def _pictures(images: Images, pairs: Int64[Tensor, "m 2"], is_mirrored: Bool[Tensor, " m"]) -> tuple[Tensor, Tensor]:
    """Return the images of each pair, RGB in [0, 1], the second one mirrored where `is_mirrored` is true."""
    first, second = images[pairs[:, 0]].float() / 255, images[pairs[:, 1]].float() / 255
    return first, torch.where(is_mirrored[:, None, None, None], second.flip(3), second)


def _similarities(first: UnitImages, second: UnitImages) -> Iterator[Float[Tensor, "m p"]]:
    """Yield the similarities of every alignment, in the order of `_alignments`."""
    whole_first, whole_second = structure(first), structure(second)
    yield _cross_correlation(whole_first, whole_second, MAX_SHIFT_PX).flatten(1)
    for side_px in CROP_SIDES_PX:
        in_first = _cross_correlation(whole_first, structure(_resized(second, side_px)))
        in_second = _cross_correlation(whole_second, structure(_resized(first, side_px)))
        yield torch.stack([in_first, in_second], dim=3).flatten(1)


def _cross_correlation(
    large: Float[Tensor, "m 3 h h"], small: Float[Tensor, "m 3 s s"], padding_px: int = 0
) -> Float[Tensor, "m p p"]:
    """Return the similarity of `small` and `large` at every position of `small`, up to `padding_px` beyond the border.

    Positions beyond the border are compared where the two overlap, for which both must have the same side.
    """
    num, side_px = len(large), small.shape[2]
    stacked = large.reshape(1, num * 3, *large.shape[2:])
    products = functional.conv2d(stacked, small, padding=padding_px, groups=num)[0]
    energy_large = _window_sums(large.square().sum(dim=1), side_px, padding_px)
    energy_small = small.square().sum(dim=1)
    # A window of the small image that overlaps the large one lies opposite to the shift.
    energy_small = _window_sums(energy_small, side_px, padding_px).flip(1, 2)
    counts = 3 * _window_sums(torch.ones(1, *large.shape[2:]), side_px, padding_px)
    return products / ((energy_large * energy_small).clamp(min=0).sqrt() + counts * NOISE_LEVEL**2)


def _window_sums(values: Float[Tensor, "m h h"], side_px: int, padding_px: int) -> Float[Tensor, "m p p"]:
    padded = functional.pad(values, (padding_px,) * 4)
    return functional.avg_pool2d(padded[:, None], side_px, stride=1)[:, 0] * side_px**2


def _overlap_of(first: UnitImages, second: UnitImages, alignment: _Alignment) -> tuple[Tensor, Tensor]:
    """Return the parts of both images that overlap."""
    large, small = (second, first) if alignment.is_swapped else (first, second)
    small = _resized(small, alignment.side_px)
    rows, columns = alignment.first
    small_rows, small_columns = alignment.second
    return large[:, :, rows, columns], small[:, :, small_rows, small_columns]


def _correlation(a: UnitImages, b: UnitImages) -> Float[Tensor, " m"]:
    a, b = a.flatten(1), b.flatten(1)
    energy = ((a * a).sum(dim=1) * (b * b).sum(dim=1)).sqrt()
    return (a * b).sum(dim=1) / (energy + a.shape[1] * NOISE_LEVEL**2)


def _resized(images: UnitImages, side_px: int) -> Float[Tensor, "n 3 s s"]:
    if images.shape[2] == side_px:
        return images
    return functional.interpolate(images, (side_px, side_px), mode="bilinear", antialias=True)


def structure(images: UnitImages) -> UnitImages:
    """Return the structure of images: a fine blur minus a coarse one, float [n 3 h w].

    Args:
        images: RGB in [0, 1], float [n 3 h w].
    """
    return _blurred(images, FINE_PX) - _blurred(images, COARSE_PX)


def _blurred(images: UnitImages, deviation_px: float) -> UnitImages:
    """Return the images convolved with a Gaussian of this standard deviation; borders are reflected."""
    radius = min(max(1, round(2.5 * deviation_px)), min(images.shape[2:]) - 1)
    offsets = torch.arange(-radius, radius + 1, dtype=torch.float32)
    kernel = torch.exp(-0.5 * (offsets / deviation_px) ** 2)
    kernel = (kernel / kernel.sum()).expand(3, 1, 1, -1)
    rows = functional.conv2d(functional.pad(images, (radius, radius, 0, 0), mode="reflect"), kernel, groups=3)
    columns = functional.pad(rows, (0, 0, radius, radius), mode="reflect")
    return functional.conv2d(columns, kernel.transpose(2, 3), groups=3)


def _alignments(side_px: int) -> Iterator[_Alignment]:
    """Yield the shifts, then the crops of one image in the other."""
    for down in range(-MAX_SHIFT_PX, MAX_SHIFT_PX + 1):
        for right in range(-MAX_SHIFT_PX, MAX_SHIFT_PX + 1):
            rows, columns = _overlap(down, side_px), _overlap(right, side_px)
            yield _Alignment(side_px, (rows[0], columns[0]), (rows[1], columns[1]))
    for crop_px in CROP_SIDES_PX:
        whole = slice(0, crop_px)
        for down in range(side_px - crop_px + 1):
            for right in range(side_px - crop_px + 1):
                window = slice(down, down + crop_px), slice(right, right + crop_px)
                yield _Alignment(crop_px, window, (whole, whole))
                yield _Alignment(crop_px, window, (whole, whole), is_swapped=True)


def _overlap(shift: int, side_px: int) -> tuple[slice, slice]:
    """Return the parts of a side of the first and the second image that overlap at a shift of the second."""
    return slice(max(0, shift), side_px + min(0, shift)), slice(max(0, -shift), side_px + min(0, -shift))
