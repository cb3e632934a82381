"""Slices: groups of test images with a common attribute, on which the network is less accurate than elsewhere."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from firstlight.arrays import Images, Labels, Masks
from firstlight.data.mapped_images import StoredImages
from firstlight.evaluation.intervals import wilson_interval

NUM_BINS = 5
BATCH_SIZE = 512  # limits the memory for large images
MIN_IMAGES = 10  # smaller slices are not tested
LUMA = (0.299, 0.587, 0.114)  # weights of red, green and blue (ITU-R BT.601)
RANK_NAMES = {0: "lowest fifth", NUM_BINS - 1: "highest fifth"}


@dataclass(frozen=True, eq=False)
class Slice:
    """A group of test images, with its accuracy.

    Args:
        name: Attribute and range, or class, that the images have in common.
        members: Which test images belong to the slice, bool [n].
        num_images: Number of images.
        num_right: Number of correctly classified images.
        interval: 95 % Wilson interval of the accuracy.
        p_value: Probability that as many or more mistakes fall into the slice by chance (`hypergeometric_tail`).
        q_value: Smallest false discovery rate at which the slice is a discovery (`benjamini_hochberg`).
        parents: Names of the two slices of which it is the intersection; empty for other slices.
    """

    name: str
    members: Bool[Tensor, " n"]
    num_images: int
    num_right: int
    interval: tuple[float, float]
    p_value: float
    q_value: float = 1.0
    parents: tuple[str, ...] = ()

    @property
    def accuracy(self) -> float:
        """Share of correctly classified images, in [0, 1]."""
        return self.num_right / self.num_images


def find_slices(
    attributes: Mapping[str, Float[Tensor, " n"]], labels: Labels, class_names: Sequence[str], right: Bool[Tensor, " n"]
) -> list[Slice]:
    """Return slices by attribute and by class, smallest p-value first.

    Each attribute is divided into fifths of the images. The q-values control the false discovery rate over all slices
    that this function tests.

    Args:
        attributes: A number for each image, by the name of the attribute; see `image_attributes`.
        labels: True classes, int64 [n].
        class_names: Name of each class.
        right: Whether each image is classified correctly, bool [n].

    >>> labels, right = torch.zeros(60).long(), torch.arange(60) >= 12
    >>> slices = find_slices({"brightness": torch.arange(60.0)}, labels, ["cat"], right)
    >>> slices[0].name, slices[0].accuracy
    ('brightness: lowest fifth', 0.0)
    """
    groups: list[tuple[str, Tensor, tuple[str, ...]]] = [
        (f"{name}: {RANK_NAMES.get(rank, f'fifth {rank + 1} of {NUM_BINS}')}", members, ())
        for name, values in attributes.items()
        for rank, members in enumerate(_fifths(values))
    ]
    groups += [(f"class: {name}", labels == label, ()) for label, name in enumerate(class_names)]
    return _tested(groups, right)


def find_pairs(slices: Sequence[Slice], right: Bool[Tensor, " n"]) -> list[Slice]:
    """Return the intersections of pairs of slices, smallest p-value first.

    Args:
        slices: Slices from `find_slices`.
        right: Whether each image is classified correctly, bool [n].
    """
    groups = [
        (f"{first.name}, {second.name}", first.members & second.members, (first.name, second.name))
        for first, second in combinations(slices, 2)
        if first.name.split(":")[0] != second.name.split(":")[0]  # fifths of one attribute share no image
    ]
    return _tested(groups, right)


def image_attributes(images: StoredImages, masks: Masks | None = None) -> dict[str, Float[Tensor, " n"]]:
    """Return attributes of the images that may explain mistakes, float [n] each.

    `brightness` is the mean luma and `contrast` its standard deviation, both in [0, 1]. `sharpness` is the variance of
    the Laplacian of the luma. `colourfulness` is the metric M3 of Hasler and Suesstrunk 2003, "Measuring Colourfulness
    in Natural Images". The background is the border, one eighth of the shorter side wide: `background brightness` is
    its mean luma, `background redness` its mean of R - G (small for green) and `background yellowness` its mean of
    (R + G) / 2 - B (small for blue). With masks, `object size` is the share of the pixels that show the object, and
    `object aspect ratio` the length of the object divided by its width, from its second moments, 1 or more.

    Args:
        images: Images, uint8 [n 3 h w].
        masks: Pixels that show the object, bool [n h w]; None if unknown.
    """
    shapes = (
        {}
        if masks is None
        else {"object size": masks.float().mean(dim=(1, 2)), "object aspect ratio": aspect_ratios(masks)}
    )
    batches = [_attributes(batch) for batch in images.split(BATCH_SIZE)]
    return {name: torch.cat([batch[name] for batch in batches]) for name in batches[0]} | shapes


def aspect_ratios(masks: Masks) -> Float[Tensor, " n"]:
    """Return the length of each object divided by its width, 1 or more, float64 [n].

    Both are the square roots of the eigenvalues of the covariance matrix of the object's pixels, to which the variance
    1/12 of a pixel itself is added. A rotation does not change the ratio. An empty mask has the ratio 1.

    Args:
        masks: Pixels that show the object, bool [n h w].

    >>> masks = torch.zeros(1, 8, 8, dtype=torch.bool)
    >>> masks[0, 2, 1:5] = True  # one row of four pixels
    >>> round(aspect_ratios(masks).item(), 6)
    4.0
    """
    weights = masks.double() / masks.double().sum(dim=(1, 2), keepdim=True).clamp(min=1)
    rows, columns = (torch.arange(size, dtype=torch.float64) for size in masks.shape[1:])
    row_means, column_means = (
        torch.einsum("nhw,h->n", weights, rows),
        torch.einsum("nhw,w->n", weights, columns),
    )
    down, right = rows - row_means[:, None], columns - column_means[:, None]
    row_variance = torch.einsum("nhw,nh->n", weights, down**2) + 1 / 12
    column_variance = torch.einsum("nhw,nw->n", weights, right**2) + 1 / 12
    covariance = torch.einsum("nhw,nh,nw->n", weights, down, right)
    mean = (row_variance + column_variance) / 2
    spread = torch.hypot((row_variance - column_variance) / 2, covariance)
    ratios = ((mean + spread) / (mean - spread)).sqrt()
    return torch.where(masks.flatten(1).any(dim=1), ratios, 1.0)


def _attributes(images: Images) -> dict[str, Float[Tensor, " n"]]:
    pixels = images.float() / 255
    luma = torch.einsum("nchw,c->nhw", pixels, torch.tensor(LUMA))
    laplacian = F.conv2d(luma[:, None], torch.tensor([[[[0.0, 1, 0], [1, -4, 1], [0, 1, 0]]]]))
    red_green = pixels[:, 0] - pixels[:, 1]
    yellow_blue = (pixels[:, 0] + pixels[:, 1]) / 2 - pixels[:, 2]
    spread, mean = (
        torch.hypot(statistic(red_green.flatten(1)), statistic(yellow_blue.flatten(1)))
        for statistic in (lambda x: x.std(dim=1, correction=0), lambda x: x.mean(dim=1))
    )
    width_px = max(1, min(images.shape[2:]) // 8)
    border = torch.ones(images.shape[2:], dtype=torch.bool)
    border[width_px:-width_px, width_px:-width_px] = False
    return {
        "brightness": luma.mean(dim=(1, 2)),
        "contrast": luma.flatten(1).std(dim=1, correction=0),
        "sharpness": laplacian.flatten(1).var(dim=1, correction=0),
        "colourfulness": spread + 0.3 * mean,
        "background brightness": luma[:, border].mean(dim=1),
        "background redness": red_green[:, border].mean(dim=1),
        "background yellowness": yellow_blue[:, border].mean(dim=1),
    }


def hypergeometric_tail(num_images: int, num_wrong: int, slice_images: int, slice_wrong: int) -> float:
    """Return the probability of at least `slice_wrong` mistakes among `slice_images` images drawn at random.

    This is the p-value of Fisher's exact test, one-sided, for the slice against the other images.

    Args:
        num_images: Number of all images.
        num_wrong: Number of all mistakes.
        slice_images: Number of images in the slice.
        slice_wrong: Number of mistakes in the slice.

    >>> hypergeometric_tail(4, 2, 2, 2)  # 1 of the 6 pairs
    0.16666666666666669
    """
    total = _log_binomial(num_images, slice_images)
    terms = [
        _log_binomial(num_wrong, wrong) + _log_binomial(num_images - num_wrong, slice_images - wrong) - total
        for wrong in range(slice_wrong, min(num_wrong, slice_images) + 1)
        if slice_images - wrong <= num_images - num_wrong
    ]
    return min(1.0, math.fsum(map(math.exp, terms)))


def benjamini_hochberg(p_values: Sequence[float]) -> list[float]:
    """Return the q-value of each p-value: the smallest false discovery rate at which it is a discovery.

    Benjamini and Hochberg 1995, "Controlling the False Discovery Rate", Journal of the Royal Statistical Society B 57.

    >>> benjamini_hochberg([0.01, 0.04, 0.03])
    [0.03, 0.04, 0.04]
    """
    order = sorted(range(len(p_values)), key=lambda index: p_values[index], reverse=True)
    q_values, smallest = [1.0] * len(p_values), 1.0
    for position, index in enumerate(order):
        smallest = min(smallest, p_values[index] * len(p_values) / (len(p_values) - position))
        q_values[index] = smallest
    return q_values


def _tested(
    groups: Sequence[tuple[str, Bool[Tensor, " n"], tuple[str, ...]]], right: Bool[Tensor, " n"]
) -> list[Slice]:
    num_wrong = int((~right).sum())
    slices = []
    for name, members, parents in groups:
        count, num_right = int(members.sum()), int((members & right).sum())
        if count >= MIN_IMAGES:
            p_value = hypergeometric_tail(len(right), num_wrong, count, count - num_right)
            interval = wilson_interval(num_right, count)
            slices.append(Slice(name, members, count, num_right, interval, p_value, parents=parents))
    q_values = benjamini_hochberg([each.p_value for each in slices])
    slices = [replace(each, q_value=q_value) for each, q_value in zip(slices, q_values, strict=True)]
    return sorted(slices, key=lambda each: (each.p_value, each.accuracy))


def _fifths(values: Float[Tensor, " n"]) -> list[Bool[Tensor, " n"]]:
    """Divide the images into fifths by their value; equal values stay together, in the lower fifth."""
    edges = values.double().quantile(torch.linspace(0, 1, NUM_BINS + 1, dtype=torch.float64)[1:-1])
    ranks = torch.bucketize(values.double(), edges)
    return [ranks == rank for rank in range(NUM_BINS)]


def _log_binomial(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
