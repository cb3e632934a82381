"""Folds of a training split for cross-validation."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Int64
from torch import Tensor

from firstlight.data.images import ImageSet
from firstlight.data.rng import generator
from firstlight.errors import UsageError

SEED = 0  # fixed: the folds do not depend on the seed of a training


@dataclass(frozen=True)
class Fold:
    """One fold of a cross-validation.

    Args:
        index: Number of the fold, from 0.
        count: Number of folds, at least 2.

    Raises:
        UsageError: There is no such fold.
    """

    index: int
    count: int

    def __post_init__(self) -> None:
        if self.count < 2 or not 0 <= self.index < self.count:
            raise UsageError(f"there is no fold {self.index} of {self.count}: use 2 folds or more, counted from 0")


def split_fold(images: ImageSet, fold: Fold) -> tuple[ImageSet, ImageSet]:
    """Split images into those outside of a fold and those in it; each image is in exactly one of the folds.

    The folds are stratified: the images of each class are shuffled with a fixed seed and dealt out in turn, each class
    beginning where the one before ended. Two folds therefore differ by at most one image, in all and in each class.

    Args:
        images: Images to split.
        fold: Fold to split off.

    Returns:
        The images outside of the fold (train) and those in it (val), both in their original order.

    Raises:
        UsageError: There are fewer images than folds.

    >>> whole = ImageSet(torch.zeros(6, 3, 1, 1, dtype=torch.uint8), torch.tensor([0, 0, 0, 0, 1, 1]), ("cat", "dog"))
    >>> train, val = split_fold(whole, Fold(0, 2))
    >>> val.labels.bincount().tolist(), len(train)
    ([2, 1], 3)
    """
    is_held_out = fold_numbers(images, fold.count) == fold.index
    return images[(~is_held_out).nonzero().flatten()], images[is_held_out.nonzero().flatten()]


def fold_numbers(images: ImageSet, count: int) -> Int64[Tensor, " n"]:
    """Return the number of the fold that each image is in, int64 [n]; see `split_fold`.

    Args:
        images: Images to split.
        count: Number of folds.

    Raises:
        UsageError: There are fewer images than folds.
    """
    if len(images) < count:
        raise UsageError(f"{images.name}: {len(images)} images are too few for {count} folds; name fewer folds")
    fold_of = torch.empty(len(images), dtype=torch.int64)
    draw, dealt = generator(SEED, 0, "folds"), 0
    for label in range(len(images.class_names)):
        members = (images.labels == label).nonzero().flatten()
        shuffled = members[torch.randperm(len(members), generator=draw)]
        fold_of[shuffled] = (torch.arange(len(members)) + dealt) % count
        dealt += len(members)
    return fold_of
