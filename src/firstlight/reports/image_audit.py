"""Odd images of a split, and properties that alone predict a class."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from firstlight.data.images import ImageSet
from firstlight.evaluation.neighbours import Neighbours
from firstlight.evaluation.odd_images import OddImage, channel_difference, find_odd_images
from firstlight.evaluation.spurious_signs import SpuriousSign, cell_attributes, find_signs
from firstlight.reports.label_audit import HeldOut

Attributes = Mapping[str, Float[Tensor, " n"]]
NEAREST = "distance to the nearest images"
MIN_FOR_SIGNS = 100  # images


def find_odd(images: ImageSet, pixels: Attributes, files: Attributes, held_out: HeldOut | None) -> list[OddImage]:
    """Return the odd images of a split, the most severe first.

    Args:
        images: Images of the split.
        pixels: Attributes of their pixels, from `firstlight.evaluation.slices.image_attributes`.
        files: Attributes of the image files, from `Source.file_attributes`.
        held_out: Predictions for the split, whose features tell which images are unlike all others; None without.
    """
    attributes = {**pixels, "colour": channel_difference(images.pixels), **files}
    if held_out is not None and held_out.neighbours is not None:
        attributes[NEAREST] = nearest_distances(held_out.neighbours, held_out.folds)
    return find_odd_images(attributes)


def nearest_distances(neighbours: Neighbours, folds: Int64[Tensor, " n"]) -> Float64[Tensor, " n"]:
    """Return the mean distance of each image to its nearest neighbours, 1 for the median of its fold, float64 [n].

    Args:
        neighbours: Nearest neighbours of each image among those of its fold.
        folds: Number of each image's fold, int64 [n].
    """
    distances = neighbours.distances.mean(dim=1)
    scaled = torch.ones_like(distances)
    for fold in folds.unique().tolist():
        rows = (folds == fold).nonzero().flatten()
        median = distances[rows].quantile(0.5)
        if bool(torch.isfinite(median)) and float(median) > 0:
            scaled[rows] = distances[rows] / median
    return torch.where(torch.isfinite(scaled), scaled, 1.0)


def find_spurious_signs(images: ImageSet, pixels: Attributes, files: Attributes) -> list[SpuriousSign]:
    """Return the properties of images and files that alone predict a class; none for fewer than 100 images.

    Args:
        images: Images, usually those for training.
        pixels: Attributes of their pixels, from `firstlight.evaluation.slices.image_attributes`.
        files: Attributes of the image files, from `Source.file_attributes`.
    """
    if len(images) < MIN_FOR_SIGNS:
        return []
    attributes = {**pixels, **cell_attributes(images.pixels), **files, **file_format(images)}
    return find_signs(attributes, images.labels)


def file_format(images: ImageSet) -> dict[str, Float64[Tensor, " n"]]:
    """Return the number of each file's suffix, so that the format of a file can be a sign; nothing without files."""
    if images.file_names is None:
        return {}
    suffixes = [PurePosixPath(name).suffix.lower() for name in images.file_names]
    numbers = {suffix: number for number, suffix in enumerate(sorted(set(suffixes)))}
    return {"file format": torch.tensor([numbers[suffix] for suffix in suffixes], dtype=torch.float64)}
