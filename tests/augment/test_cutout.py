from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from firstlight.augment.cutout import cutout
from reference.augmentation import cut_image

FILL = torch.tensor([10, 20, 30], dtype=torch.uint8)


@pytest.mark.parametrize("size_px", [1, 2, 3, 9])
def test_only_the_part_of_each_square_inside_the_image_is_filled(size_px: int) -> None:
    height, width = 4, 5
    places = list(itertools.product(range(-size_px - 1, height + 1), range(-size_px - 1, width + 1)))
    draw = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (len(places), 3, height, width), dtype=torch.uint8, generator=draw)
    top, left = torch.tensor(places).T.contiguous()
    before = images.clone()

    result = cutout(images, top, left, size_px, FILL)

    expected = [cut_image(i, *place, size_px, FILL.tolist()) for i, place in zip(images.numpy(), places, strict=True)]
    assert np.array_equal(result.numpy(), np.stack(expected))
    assert torch.equal(images, before)


def test_the_memory_layout_of_the_images_is_kept() -> None:
    images = torch.zeros(2, 3, 6, 6, dtype=torch.uint8).to(memory_format=torch.channels_last)
    result = cutout(images, torch.tensor([0, 1]), torch.tensor([0, 1]), 2, FILL)
    assert result.is_contiguous(memory_format=torch.channels_last)
