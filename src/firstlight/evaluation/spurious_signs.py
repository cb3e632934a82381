"""Spurious signs: properties of images or files that alone predict the class, such as a mark in a corner."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Float64, Int64
from torch import Tensor
from torch.nn import functional

from firstlight.arrays import Labels
from firstlight.data.mapped_images import StoredImages
from firstlight.data.rng import generator

LIMIT = 0.9  # AUROC above which a property is a sign of a class
MIN_OF_CLASS = 20  # with fewer images of a class or of the others, a property may predict it by chance
NUM_BINS = 16
GRID = 8  # rows and columns of cells into which an image is divided
MAX_IMAGES = 10_000
_BATCH = 2048


@dataclass(frozen=True)
class SpuriousSign:
    """A property that alone predicts whether an image belongs to a class.

    Args:
        label: The class.
        property: Name of the property.
        auroc: Area under the ROC curve of the class, for a score from this property alone, in [0, 1].
        num_images: Number of images from which the area was computed.
        typical: Mean of the property over the images of the class.
        typical_elsewhere: Mean over the other images.
    """

    label: int
    property: str
    auroc: float
    num_images: int
    typical: float
    typical_elsewhere: float


def find_signs(attributes: Mapping[str, Float[Tensor, " n"]], labels: Labels) -> list[SpuriousSign]:
    """Return for each class the property that predicts it best, if its AUROC is above 0.9; the largest AUROC first.

    A property's values are sorted into 16 bins of equally many images. An image's score for a class is the share of the
    class among the images of the same bin in the other half of the data. The values that are typical of a class may
    therefore be small, medium or large. Chance differences in one half do not repeat in the other.

    Args:
        attributes: A number for each image by the name of the property, float [n].
        labels: Labels, int64 [n].

    >>> labels = torch.arange(200) % 2
    >>> signs = find_signs({"brightness": labels + torch.linspace(0, 0.9, 200)}, labels)
    >>> signs[0].property, signs[0].auroc
    ('brightness', 1.0)
    """
    rows = torch.randperm(len(labels), generator=generator(0, 0, "signs"))[:MAX_IMAGES]
    labels = labels[rows]
    num_classes = int(labels.max()) + 1 if len(labels) else 0
    counts = labels.bincount(minlength=num_classes)
    best: dict[int, SpuriousSign] = {}
    for name, each in attributes.items():
        values = each[rows].double()
        scores = _cross_fitted(values, labels, num_classes)
        for label in range(num_classes):
            members = labels == label
            if counts[label] < MIN_OF_CLASS or len(labels) - counts[label] < MIN_OF_CLASS:
                continue
            auroc = area_under_roc(scores[:, label], members)
            if auroc > LIMIT and (label not in best or auroc > best[label].auroc):
                means = float(values[members].mean()), float(values[~members].mean())
                best[label] = SpuriousSign(label, name, auroc, len(labels), *means)
    return sorted(best.values(), key=lambda sign: -sign.auroc)


def area_under_roc(scores: Float[Tensor, " n"], members: Bool[Tensor, " n"]) -> float:
    """Return the probability that a member has a larger score than another image; equal scores count half.

    Args:
        scores: Scores, float [n].
        members: Which images belong to the class, bool [n].

    >>> area_under_roc(torch.tensor([0.1, 0.4, 0.4, 0.9]), torch.tensor([False, False, True, True]))
    0.875
    """
    _, group, counts = scores.double().unique(return_inverse=True, return_counts=True)
    ranks = (counts.cumsum(0).double() - (counts - 1) / 2)[group]
    num, others = int(members.sum()), int((~members).sum())
    if not num or not others:
        return 0.5
    return (float(ranks[members].sum()) - num * (num + 1) / 2) / (num * others)


def cell_attributes(images: StoredImages) -> dict[str, Float[Tensor, " n"]]:
    """Return brightness and contrast of each of 8x8 cells of the images, by a name with its row and column.

    Args:
        images: Raw pixels, uint8 [n 3 h w]; sides below 8 pixels have no cells.
    """
    if min(images.shape[2:]) < GRID or not len(images):
        return {}
    means, contrasts = [], []
    for batch in images.split(_BATCH):
        luma = batch.float().mean(dim=1, keepdim=True) / 255
        mean = functional.adaptive_avg_pool2d(luma, GRID)
        square = functional.adaptive_avg_pool2d(luma**2, GRID)
        means.append(mean.flatten(1))
        contrasts.append((square - mean**2).clamp(min=0).sqrt().flatten(1))
    brightness, contrast = torch.cat(means), torch.cat(contrasts)
    names = [_cell_name(cell) for cell in range(GRID * GRID)]
    return {f"brightness {name}": brightness[:, cell] for cell, name in enumerate(names)} | {
        f"contrast {name}": contrast[:, cell] for cell, name in enumerate(names)
    }


def _cell_name(cell: int) -> str:
    row, column = divmod(cell, GRID)
    return f"at row {row + 1}, column {column + 1} of {GRID}x{GRID} cells"


def _cross_fitted(values: Float64[Tensor, " n"], labels: Labels, num_classes: int) -> Float64[Tensor, "n k"]:
    """Return the share of each class in each image's bin, counted in the half of the data that lacks this image."""
    bins = _bins(values)
    halves = torch.arange(len(values)) % 2
    counts = torch.zeros(2, NUM_BINS, num_classes, dtype=torch.float64)
    counts.index_put_((halves, bins, labels), torch.ones(len(values), dtype=torch.float64), accumulate=True)
    other = counts[1 - halves, bins]
    prior = labels.bincount(minlength=num_classes).double() / max(1, len(labels))
    return (other + prior) / (other.sum(dim=1, keepdim=True) + 1)


def _bins(values: Float64[Tensor, " n"]) -> Int64[Tensor, " n"]:
    """Return the bin of each value. Equal values share one bin, even if they are numerous enough to fill several."""
    edges = values.quantile(torch.linspace(0, 1, NUM_BINS + 1, dtype=torch.float64)[1:-1])
    return torch.bucketize(values, edges, right=True).clamp(max=NUM_BINS - 1)
