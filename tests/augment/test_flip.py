from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from firstlight.augment.flip import alternate, flip
from reference.augmentation import mirrored_image

LAYOUTS = [torch.contiguous_format, torch.channels_last]


def noise(*shape: int) -> torch.Tensor:
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
def test_exactly_the_chosen_images_are_mirrored_in_every_pixel(layout: torch.memory_format) -> None:
    images = noise(6, 3, 5, 7).to(memory_format=layout)
    mirrored = torch.tensor([True, False, True, True, False, False])
    before = images.clone()

    result = flip(images, mirrored)

    expected = [mirrored_image(i) if m else i for i, m in zip(images.numpy(), mirrored.tolist(), strict=True)]
    assert np.array_equal(result.numpy(), np.stack(expected))
    assert torch.equal(images, before)
    assert result.is_contiguous(memory_format=layout)
    assert result.data_ptr() != images.data_ptr()


def test_alternating_shows_each_image_both_ways_in_any_two_epochs() -> None:
    first = torch.rand(50, generator=torch.Generator().manual_seed(1)) < 0.5
    shown = [alternate(first, epoch) for epoch in range(6)]
    assert torch.equal(shown[0], first)
    for one, next_one in itertools.pairwise(shown):
        assert torch.equal(one, ~next_one)
