from __future__ import annotations

import torch

from firstlight.data.degenerate import describe_degenerate_data
from firstlight.data.images import ImageSet


def image_set(labels: list[int], constant: tuple[int, ...] = (), num_classes: int = 3) -> ImageSet:
    images = torch.randint(0, 256, (len(labels), 3, 8, 8), dtype=torch.uint8)
    images[:, list(constant)] = 7
    names = tuple(f"class {number}" for number in range(num_classes))
    return ImageSet(images, torch.tensor(labels, dtype=torch.int64), names, name="cells")


def test_ordinary_data_cause_no_line() -> None:
    images = image_set([0, 1, 2])
    assert describe_degenerate_data(images, images[:0]) == []
    assert describe_degenerate_data(images, images, images) == []


def test_constant_channels_are_named() -> None:
    images = image_set([0, 1, 2], constant=(2,))
    (line,) = describe_degenerate_data(images, images)
    assert "the blue channel of cells has one value" in line
    assert line.endswith("red and green alone")
    images = image_set([0, 1, 2], constant=(0, 1, 2))
    (line,) = describe_degenerate_data(images, images)
    assert "all pixels of cells have the same colour" in line


def test_classes_without_images_are_named() -> None:
    whole, part = image_set([0, 1, 2]), image_set([0, 2])
    (line,) = describe_degenerate_data(whole, whole, part)
    assert "no test images of 'class 1'" in line
    (line,) = describe_degenerate_data(part, whole)
    assert "no training images of 'class 1'" in line
    (line,) = describe_degenerate_data(whole, image_set([1, 1]))
    assert "all validation images are of the class 'class 1'" in line


def test_many_missing_classes_are_counted() -> None:
    whole, part = image_set(list(range(20)), num_classes=20), image_set([0, 1], num_classes=20)
    (line,) = describe_degenerate_data(whole, whole, part)
    assert "'class 6' and 13 more" in line
