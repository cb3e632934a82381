"""Folds: every image in exactly one, stratified, and the same every time."""

from __future__ import annotations

import pytest
import torch

from firstlight.data.folds import Fold, split_fold
from firstlight.data.images import ImageSet
from firstlight.errors import UsageError


def images_of(*counts: int) -> ImageSet:
    labels = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(1))
    grey = torch.zeros(len(labels), 3, 1, 1, dtype=torch.uint8)
    return ImageSet(
        grey, labels[order], tuple(f"class {n}" for n in range(len(counts))), ids=torch.arange(len(labels)) + 7
    )


@pytest.mark.parametrize(("counts", "num_folds"), [((10, 10), 5), ((7, 11, 3), 4), ((3, 1, 1), 5), ((5, 0, 6), 3)])
def test_the_folds_are_a_stratified_partition(counts: tuple[int, ...], num_folds: int) -> None:
    whole = images_of(*counts)
    pairs = [split_fold(whole, Fold(index, num_folds)) for index in range(num_folds)]
    assert sorted(index for _, held_out in pairs for index in held_out.ids.tolist()) == whole.ids.tolist()
    for train, held_out in pairs:
        assert sorted(train.ids.tolist() + held_out.ids.tolist()) == whole.ids.tolist()
        assert held_out.ids.tolist() == sorted(held_out.ids.tolist())
    by_class = torch.stack([held_out.labels.bincount(minlength=len(counts)) for _, held_out in pairs])
    assert int((by_class.amax(0) - by_class.amin(0)).max()) <= 1
    sizes = by_class.sum(dim=1)
    assert int(sizes.max() - sizes.min()) <= 1


def test_the_folds_are_the_same_every_time_and_shuffled() -> None:
    whole = images_of(50, 50)
    first, again = (split_fold(whole, Fold(1, 5))[1].ids for _ in range(2))
    assert first.equal(again)
    gaps = first.diff()
    assert int(gaps.min()) != int(gaps.max()), "not every fifth image"


def test_folds_that_do_not_exist_are_refused() -> None:
    for index, count in ((0, 1), (2, 2), (-1, 3)):
        with pytest.raises(UsageError, match="2 folds or more"):
            Fold(index, count)
    with pytest.raises(UsageError, match="3 images are too few for 4 folds"):
        split_fold(images_of(2, 1), Fold(0, 4))
