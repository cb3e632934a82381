"""Odd images: those whose brightness, contrast, sharpness, colour, size or features are far from the data set's own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from firstlight.data.mapped_images import StoredImages

Z_LIMIT = 3.5  # largest modified z-score of an image that is not odd
# Ratio of the standard deviation of a normal distribution to its median absolute deviation.
MAD_TO_DEVIATION = 1.4826
MIN_IMAGES = 30  # smallest number of images from which a distribution is estimated
GREY_LEVELS = 2.0  # mean difference of the colour channels below which an image is grey, of 255
RARE_SHARE = 0.1  # grey images are odd if their share is below this, and so are colour images
_TINY = 1e-6
_BATCH = 2048

Side = Literal["low", "high"]


@dataclass(frozen=True)
class OddRule:
    """A rule that finds the images at one end of an attribute's distribution.

    Args:
        name: What such an image is called.
        attribute: Name of the attribute.
        side: Which end.
        is_log: Whether distances are measured between logarithms, for attributes whose ratios matter.
        min_factor: Smallest ratio to the median, so that a set with nearly equal values is not full of odd images.
    """

    name: str
    attribute: str
    side: Side
    is_log: bool = False
    min_factor: float = 1.0


RULES = (
    OddRule("dark", "brightness", "low"),
    OddRule("bright", "brightness", "high"),
    OddRule("nearly empty", "contrast", "low", is_log=True),
    OddRule("blurred", "sharpness", "low", is_log=True),
    OddRule("unlike all others", "distance to the nearest images", "high", is_log=True),
    OddRule("small", "original resolution", "low", is_log=True, min_factor=2.0),
    OddRule("large", "original resolution", "high", is_log=True, min_factor=2.0),
    OddRule("narrow", "aspect ratio", "low", is_log=True, min_factor=1.5),
    OddRule("wide", "aspect ratio", "high", is_log=True, min_factor=1.5),
)


@dataclass(frozen=True)
class OddImage:
    """An odd image.

    Args:
        row: Row of the image.
        name: What it is called, for instance "dark".
        attribute: Name of the attribute.
        value: Its value.
        threshold: Value from which an image of this set is odd.
        median: Median of the set.
        severity: Distance from the median in robust standard deviations.
    """

    row: int
    name: str
    attribute: str
    value: float
    threshold: float
    median: float
    severity: float


def find_odd_images(attributes: Mapping[str, Float[Tensor, " n"]]) -> list[OddImage]:
    """Return the odd images by every rule whose attribute is known, the most severe first.

    An image is odd if its modified z-score is above 3.5,

        |x - median| / (1.4826 MAD) > 3.5,    MAD = median(|x - median|),

    as Iglewicz and Hoaglin 1993 recommend ("How to Detect and Handle Outliers"); median and MAD are those of this set.
    An image that is nearly empty is not also called blurred.

    Args:
        attributes: A number for each image by the name of the attribute, float [n].

    >>> values = torch.cat([torch.linspace(0.4, 0.6, 40), torch.tensor([0.02])])
    >>> [(image.row, image.name) for image in find_odd_images({"brightness": values})]
    [(40, 'dark')]
    """
    found = [
        image
        for rule in RULES
        if rule.attribute in attributes and len(attributes[rule.attribute]) >= MIN_IMAGES
        for image in _by_rule(rule, attributes[rule.attribute].double())
    ]
    if "colour" in attributes and len(attributes["colour"]) >= MIN_IMAGES:
        found += _odd_colours(attributes["colour"].double())
    empty = {image.row for image in found if image.name == "nearly empty"}
    found = [image for image in found if not (image.name == "blurred" and image.row in empty)]
    return sorted(found, key=lambda image: (-image.severity, image.row))


def channel_difference(images: StoredImages) -> Float[Tensor, " n"]:
    """Return how colourful each image is: the mean over the pixels of the largest minus the smallest channel.

    Args:
        images: Raw pixels, uint8 [n 3 h w], in memory or in a file.

    Returns:
        Differences in grey levels, 0 to 255, float32 [n].
    """
    parts = [(batch.amax(dim=1).float() - batch.amin(dim=1).float()).mean(dim=(1, 2)) for batch in images.split(_BATCH)]
    return torch.cat(parts) if parts else torch.empty(0)


def _by_rule(rule: OddRule, values: Float64[Tensor, " n"]) -> list[OddImage]:
    scale: Callable[[Tensor], Tensor] = (lambda x: x.clamp(min=_TINY).log()) if rule.is_log else (lambda x: x)
    unscale: Callable[[Tensor], Tensor] = torch.exp if rule.is_log else (lambda x: x)
    scaled = scale(values)
    median = scaled.quantile(0.5)
    deviation = MAD_TO_DEVIATION * (scaled - median).abs().quantile(0.5)
    least = torch.tensor(rule.min_factor, dtype=torch.float64).log()  # 0 for the rules without a smallest ratio
    reach = torch.maximum(Z_LIMIT * deviation, least)
    if float(reach) <= 0:
        return []
    sign = 1 if rule.side == "high" else -1
    threshold = float(unscale(median + sign * reach))
    distance = sign * (scaled - median)
    severity = distance / torch.maximum(deviation, reach / Z_LIMIT)
    return [
        OddImage(
            row, rule.name, rule.attribute, float(values[row]), threshold, float(unscale(median)), float(severity[row])
        )
        for row in (distance > reach).nonzero().flatten().tolist()
    ]


def _odd_colours(values: Float64[Tensor, " n"]) -> list[OddImage]:
    """Return grey images among colour images, or colour images among grey ones."""
    grey = values < GREY_LEVELS
    share = float(grey.double().mean())
    if RARE_SHARE <= share <= 1 - RARE_SHARE:
        return []
    odd, name = (grey, "not in colour") if share < RARE_SHARE else (~grey, "in colour")
    median = float(values.quantile(0.5))
    return [
        OddImage(row, name, "colour", float(values[row]), GREY_LEVELS, median, Z_LIMIT)
        for row in odd.nonzero().flatten().tolist()
    ]
