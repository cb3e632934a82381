from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from firstlight.augment.resize import resized


def noise(*shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("size_px", [(16, 16), (24, 24), (20, 12), (31, 32)])
def test_equals_pillow_s_resizing_of_each_channel(size_px: tuple[int, int]) -> None:
    images = noise(2, 3, 32, 32).contiguous(memory_format=torch.channels_last)
    found = resized(images, size_px)
    height, width = size_px
    for channel, ours in zip(images.flatten(0, 1).numpy(), found.flatten(0, 1).numpy(), strict=True):
        theirs = Image.fromarray(channel, mode="F").resize((width, height), Image.Resampling.BILINEAR)
        np.testing.assert_allclose(ours, np.asarray(theirs), atol=2e-6)


def test_is_channels_last_and_stays_in_the_unit_range() -> None:
    found = resized(noise(3, 3, 32, 32), (24, 24))
    assert found.is_contiguous(memory_format=torch.channels_last)
    assert float(found.min()) >= 0
    assert float(found.max()) <= 1
    assert float(found.mean()) == pytest.approx(0.5, abs=0.02)


def test_images_of_the_requested_size_are_returned_unchanged() -> None:
    images = noise(2, 3, 8, 8)
    assert resized(images, (8, 8)) is images
