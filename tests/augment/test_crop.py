from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from firstlight.augment.crop import center_crop, shifted_crop
from reference.augmentation import shifted_image


def noise(*shape: int) -> torch.Tensor:
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("height", "width", "reach"), [(6, 6, 2), (4, 7, 3), (3, 2, 1)])
def test_every_shift_equals_reflect_padding_and_cropping(height: int, width: int, reach: int) -> None:
    shifts = list(itertools.product(range(-reach, reach + 1), repeat=2))
    images = noise(len(shifts), 3, height, width)
    down, right = torch.tensor(shifts).T.contiguous()
    before = images.clone()

    result = shifted_crop(images, down, right)

    for image, moved, (rows, columns) in zip(images.numpy(), result.numpy(), shifts, strict=True):
        padded = np.pad(image, ((0, 0), (reach, reach), (reach, reach)), mode="reflect")
        window = padded[:, reach + rows : reach + rows + height, reach + columns : reach + columns + width]
        assert np.array_equal(moved, window)
        assert np.array_equal(moved, shifted_image(image, rows, columns))
    assert result.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(images, before)


def test_the_largest_shift_is_one_less_than_the_image() -> None:
    images = noise(2, 3, 4, 5)
    result = shifted_crop(images, torch.tensor([3, -3]), torch.tensor([4, -4]))
    # moved by all but one pixel, the whole image comes out mirrored about the pixel that stays
    assert torch.equal(result, images.flip(2, 3))


def test_each_image_has_its_own_shift_in_any_memory_layout() -> None:
    images = noise(3, 3, 5, 5)
    down, right = torch.tensor([0, 1, -2]), torch.tensor([2, 0, -1])
    contiguous = shifted_crop(images, down, right)
    channels_last = shifted_crop(images.to(memory_format=torch.channels_last), down, right)
    alone = [shifted_crop(images[i : i + 1], down[i : i + 1], right[i : i + 1]) for i in range(3)]
    assert torch.equal(contiguous, channels_last)
    assert torch.equal(contiguous, torch.cat(alone))


@pytest.mark.parametrize(("height", "width", "top", "left"), [(4, 3, 1, 1), (6, 1, 0, 2), (5, 5, 0, 0), (1, 2, 2, 1)])
def test_a_center_crop_is_the_middle(height: int, width: int, top: int, left: int) -> None:
    images = torch.rand(2, 3, 6, 5)
    found = center_crop(images, (height, width))
    assert found.shape == (2, 3, height, width)
    for y, x in itertools.product(range(height), range(width)):
        assert torch.equal(found[:, :, y, x], images[:, :, top + y, left + x])
    assert found.is_contiguous(memory_format=torch.channels_last)


def test_a_center_crop_at_the_images_size_returns_the_same_tensor() -> None:
    images = torch.rand(2, 3, 6, 5)
    assert center_crop(images, (6, 5)) is images


def test_the_middle_of_a_shifted_image_is_a_crop_without_padding() -> None:
    """If the shift is at most the removed border, the result is a crop that starts at the shift."""
    images = noise(5, 3, 8, 8)
    shifts = torch.tensor([-2, -1, 0, 1, 2])
    found = center_crop(shifted_crop(images, shifts, shifts.flip(0)).float(), (4, 4))
    for number, shift in enumerate(shifts.tolist()):
        top, left = 2 + shift, 2 - shift
        assert torch.equal(found[number], images[number, :, top : top + 4, left : left + 4].float())
