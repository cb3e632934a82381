from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch

from firstlight.data.images import ImageSet, split_stratified
from reference.unchecked import without_type_checks


def images_of(counts: list[int], size_px: tuple[int, int] = (2, 3), seed: int = 0) -> ImageSet:
    """Return noise images with the given number of each class, mixed."""
    draw = torch.Generator().manual_seed(seed)
    labels = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    labels = labels[torch.randperm(len(labels), generator=draw)]
    pixels = torch.randint(0, 256, (len(labels), 3, *size_px), dtype=torch.uint8, generator=draw)
    return ImageSet(pixels, labels, tuple(f"class {i}" for i in range(len(counts))))


@pytest.mark.parametrize(
    ("counts", "num_second"),
    [
        ([50, 50], 20),
        ([7, 11, 13, 1], 10),
        ([100, 1, 1, 1, 1], 3),
        ([5, 0, 9], 4),
        ([3, 3, 3], 1),
        ([17, 29, 31], 76),
        ([10, 10], 0),
    ],
)
def test_a_split_is_complete_disjoint_in_order_and_in_proportion(counts: list[int], num_second: int) -> None:
    whole = images_of(counts)
    first, second = split_stratified(whole, num_second, seed=3)

    assert len(second) == num_second
    ids = first.ids.tolist() + second.ids.tolist()
    assert sorted(ids) == list(range(len(whole)))
    for part in (first, second):
        assert part.ids.tolist() == sorted(part.ids.tolist())
        assert torch.equal(part.images, whole.images[part.ids])
        assert torch.equal(part.labels, whole.labels[part.ids])
        assert part.class_names == whole.class_names
    # largest remainders, in exact fractions: counts that are rounded up have at least the remainder of the others
    shares = [Fraction(count * num_second, len(whole)) for count in counts]
    quotas = torch.bincount(second.labels, minlength=len(counts)).tolist()
    up = [share % 1 for share, quota in zip(shares, quotas, strict=True) if quota > share // 1]
    down = [share % 1 for share, quota in zip(shares, quotas, strict=True) if quota == share // 1]
    assert len(up) + len(down) == len(counts)
    assert all(quota - share // 1 in (0, 1) for share, quota in zip(shares, quotas, strict=True))
    assert min(up, default=1) >= max(down, default=0)


def test_a_split_depends_on_the_seed_and_on_nothing_else() -> None:
    whole = images_of([40, 40, 40])
    torch.manual_seed(1)
    _, once = split_stratified(whole, 30, seed=5)
    torch.manual_seed(2)
    _, again = split_stratified(whole, 30, seed=5)
    _, other = split_stratified(whole, 30, seed=6)
    assert torch.equal(once.ids, again.ids)
    assert not torch.equal(once.ids, other.ids)


def test_every_image_is_split_off_with_equal_probability() -> None:
    whole = images_of([10, 30])
    times = torch.zeros(40)
    for seed in range(400):
        times[split_stratified(whole, 8, seed)[1].ids] += 1
    # a fifth of 400 splits is 80, with a standard deviation of 8
    assert times.min() > 80 - 5 * 8
    assert times.max() < 80 + 5 * 8


@pytest.mark.parametrize("num_second", [-1, 10, 11])
def test_a_split_that_leaves_nothing_to_train_on_is_refused(num_second: int) -> None:
    with pytest.raises(ValueError, match=f"cannot take {num_second} of 10"):
        split_stratified(images_of([5, 5]), num_second, seed=0)


def test_indexing_keeps_ids_labels_names_and_evidence() -> None:
    whole = images_of([4, 4])
    marked = ImageSet(whole.images, whole.labels, whole.class_names, evidence=whole.images[:, 0] > 128, name="marked")
    chosen = marked[torch.tensor([6, 1])][torch.tensor([1])]
    assert chosen.ids.tolist() == [1]
    assert torch.equal(chosen.images, whole.images[1:2])
    assert torch.equal(chosen.labels, whole.labels[1:2])
    assert chosen.evidence is not None
    assert torch.equal(chosen.evidence, whole.images[1:2, 0] > 128)
    assert (chosen.name, chosen.class_names) == ("marked", whole.class_names)
    assert marked[2:5].ids.tolist() == [2, 3, 4]


@pytest.mark.parametrize(
    ("labels", "ids", "message"),
    [
        ([0, 1], [0, 1, 2], "3 images, 2 labels and 3 ids"),
        ([0, 1, 0], [0, 1], "3 images, 3 labels and 2 ids"),
        ([0, 1, 2], [0, 1, 2], "labels must be 0 to 1"),
        ([0, -1, 1], [0, 1, 2], "labels must be 0 to 1"),
    ],
)
def test_lengths_that_differ_and_labels_without_a_name_are_refused(
    labels: list[int], ids: list[int], message: str
) -> None:
    pixels = torch.zeros(3, 3, 2, 2, dtype=torch.uint8)
    with without_type_checks(), pytest.raises(ValueError, match=message):
        ImageSet(pixels, torch.tensor(labels), ("cat", "dog"), torch.tensor(ids))


def test_mean_and_standard_deviation_are_numpys() -> None:
    whole = images_of([30, 30], size_px=(5, 4))
    unit = whole.images.numpy().astype(np.float64) / 255
    mean, std = whole.mean_and_std
    assert mean == pytest.approx(unit.mean(axis=(0, 2, 3)), abs=1e-12)
    assert std == pytest.approx(unit.std(axis=(0, 2, 3)), abs=1e-12)


def test_the_digest_changes_with_any_content_and_with_nothing_else() -> None:
    whole = images_of([3, 3])
    pixel, label = whole.images.clone(), whole.labels.clone()
    pixel[-1, 2, 1, 2] ^= 1
    label[0] = 1 - label[0]
    names = ("class 0", "class one")
    different = [
        whole,
        ImageSet(pixel, whole.labels, whole.class_names),
        ImageSet(whole.images, label, whole.class_names),
        ImageSet(whole.images, whole.labels, names),
        ImageSet(whole.images.reshape(6, 3, 3, 2), whole.labels, whole.class_names),
        whole[:5],
        whole[:0],
        whole[torch.tensor([1, 0, 2, 3, 4, 5])],
    ]
    assert len({each.digest() for each in different}) == len(different)

    channels_last = whole.images.to(memory_format=torch.channels_last)
    same = ImageSet(channels_last, whole.labels.clone(), whole.class_names, ids=whole.ids + 9, name="another name")
    assert same.digest() == whole.digest()


def test_file_names_go_with_the_images() -> None:
    pixels = torch.zeros(4, 3, 2, 2, dtype=torch.uint8)
    named = ImageSet(pixels, torch.tensor([0, 1, 0, 1]), ("cat", "dog"), name="photos", file_names=("a", "b", "c", "d"))
    assert named[torch.tensor([3, 0])].file_names == ("d", "a")
    assert named[1:3].file_names == ("b", "c")
    assert {name for part in split_stratified(named, 2, seed=0) for name in part.file_names} == set("abcd")
    assert (named.name_of(2), replace(named, file_names=None)[2:].name_of(0)) == ("c", "photos 2")
    with pytest.raises(ValueError, match="4 images and 1 file names"):
        replace(named, file_names=("a",))
