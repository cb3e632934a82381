"""The native pass against the separate operations, bit for bit."""

from __future__ import annotations

import pytest
import torch

from firstlight.augment import fused
from firstlight.augment.crop import shifted_crop
from firstlight.augment.flip import flip
from firstlight.augment.fused import SOURCE, is_faster, shifted_and_flipped
from firstlight.native.libraries import load_library


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    if load_library(SOURCE, "augment") is None:
        pytest.skip("nothing can be compiled here")
    monkeypatch.setattr(fused, "MIN_PIXELS", 0)


def images_of(height: int, width: int, count: int = 11) -> torch.Tensor:
    torch.manual_seed(0)
    images = torch.randint(0, 256, (count, 3, height, width), dtype=torch.uint8)
    return images.contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("num_threads", [1, 3])
@pytest.mark.parametrize("size", [(1, 1), (3, 8), (17, 5), (32, 32)])
def test_equals_the_operations_one_by_one(
    size: tuple[int, int], num_threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For the largest offsets, and indices that occur twice or never."""
    monkeypatch.setattr(torch, "get_num_threads", lambda: num_threads)
    images, indices = images_of(*size), torch.randint(0, 11, (40,))
    down, right = (torch.randint(1 - side, side, (40,)) for side in size)
    mirrored = torch.rand(40) < 0.5
    found = shifted_and_flipped(images, indices, down, right, mirrored)
    expected = flip(shifted_crop(images[indices], down, right), mirrored).float() / 255
    assert torch.equal(found, expected)
    assert found.is_contiguous(memory_format=torch.channels_last)


def test_offsets_may_have_any_strides() -> None:
    images, numbers = images_of(6, 7), torch.arange(20).reshape(5, 4) % 5
    indices, down, right = numbers[:, 0], numbers[:, 1] - 2, numbers[:, 2] - 2
    mirrored = (numbers > 2)[:, 3]
    found = shifted_and_flipped(images, indices, down, right, mirrored)
    assert torch.equal(found, flip(shifted_crop(images[indices], down, right), mirrored).float() / 255)
    assert shifted_and_flipped(images, *(each[:0] for each in (indices, down, right, mirrored))).shape == (0, 3, 6, 7)


def test_unsupported_inputs_use_the_plain_operations(monkeypatch: pytest.MonkeyPatch) -> None:
    images = images_of(6, 7)
    assert is_faster(images, 1)
    assert not is_faster(images.contiguous(), 1)
    assert not is_faster(images.to("meta"), 1)
    monkeypatch.setattr(fused, "MIN_PIXELS", 6 * 7 * 3)
    assert is_faster(images, 3)
    assert not is_faster(images, 2)
