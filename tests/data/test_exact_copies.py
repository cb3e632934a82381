"""Exact copies are found by their pixels at any image size, and named."""

from __future__ import annotations

import hashlib

import pytest
import torch

from firstlight.data.exact_copies import describe_copies, first_copies
from firstlight.data.images import ImageSet


def random_images(count: int, height: int, width: int, levels: int = 256) -> torch.Tensor:
    chance = torch.Generator().manual_seed(height * width + count)
    return torch.randint(0, levels, (count, 3, height, width), generator=chance, dtype=torch.uint8)


def by_digests(images: torch.Tensor) -> list[int]:
    """Find first copies by digests, slowly."""
    first: dict[bytes, int] = {}
    return [first.setdefault(hashlib.sha256(each.numpy().tobytes()).digest(), i) for i, each in enumerate(images)]


@pytest.mark.parametrize(("height", "width", "levels"), [(1, 1, 3), (1, 2, 2), (5, 7, 256), (8, 8, 256), (17, 17, 256)])
def test_first_copies_equal_a_search_by_digest(height: int, width: int, levels: int) -> None:
    images = random_images(300, height, width, levels)
    images[[7, 211, 299]] = images[[3, 3, 250]]
    assert first_copies(images).tolist() == by_digests(images)
    assert first_copies(images[:100], images[100:100], images[100:]).tolist() == by_digests(images)


def test_more_images_than_one_chunk_and_none_at_all() -> None:
    images = random_images(9000, 2, 2)
    images[8999] = images[0]
    assert first_copies(images)[8999] == 0
    assert first_copies(images[:0]).tolist() == []


def test_images_that_differ_in_the_highest_byte_of_two_words_are_no_copies() -> None:
    base = torch.zeros(65536, 3, 2, 4, dtype=torch.uint8)
    base.flatten(1)[:, 7] = torch.arange(65536) // 256
    base.flatten(1)[:, 15] = torch.arange(65536) % 256
    assert first_copies(base).equal(torch.arange(65536)), "hashes collide here, so bytes must be compared"


def make_set(pixels: torch.Tensor, labels: list[int], names: list[str] | None = None, name: str = "set") -> ImageSet:
    file_names = None if names is None else tuple(names)
    return ImageSet(pixels, torch.tensor(labels), ("cat", "dog"), name=name, file_names=file_names)


def test_copies_across_the_splits_are_reported_in_a_line() -> None:
    pixels = random_images(8, 4, 4)
    train = make_set(pixels[:4], [0, 0, 1, 1], ["cat/a.png", "cat/b.png", "dog/a.png", "dog/b.png"])
    val = make_set(pixels[[4, 0]], [0, 0], ["cat/v.png", "cat/a (1).png"])
    test = make_set(pixels[[5, 3, 4]], [0, 1, 0], ["cat/t.png", "dog/b (1).png", "cat/v (1).png"])
    assert describe_copies(train, val, test) == [
        (
            "exact copies across the splits: 2 of 3 test images and 1 of 2 val images have the pixels of an image in "
            "an earlier split, for instance dog/b (1).png (test) and dog/b.png (train); accuracy on copies says "
            "nothing about new images"
        )
    ]
    assert describe_copies(train, val[:1], test[:1]) == []


def test_copies_within_a_split_are_harmless_unless_they_have_two_classes() -> None:
    pixels = random_images(8, 4, 4)
    rest = make_set(pixels[6:], [0, 1])
    assert describe_copies(make_set(pixels[[0, 0, 1]], [0, 0, 1]), rest[:0], rest) == []
    train = make_set(pixels[[0, 1, 0, 1, 0]], [0, 0, 1, 1, 1], name="photos train")
    assert describe_copies(train, rest[:0], rest) == [
        "2 pictures under two classes, for instance photos train 0 (cat) and photos train 2 (dog)"
    ]
