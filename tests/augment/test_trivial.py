"""Colours against Pillow, geometry against a loop over pixels, and TrivialAugment against both."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance, ImageOps

from firstlight.augment import colours
from firstlight.augment.affine import Matrices, affine, rotation, shear, translation
from firstlight.augment.trivial import NUM_STRENGTHS, OPERATIONS, draw_operations, trivial_augment

FILL = torch.tensor([10, 20, 30], dtype=torch.uint8)
FACTORS = (0.0, 0.01, 0.5, 1.0, 1.3, 1.99)


def pictures(count: int = 6, height: int = 12, width: int = 9) -> torch.Tensor:
    """Return noise of different ranges, and a uniform image."""
    rng = np.random.default_rng(0)
    tops = rng.integers(2, 256, count)
    noise = np.stack([rng.integers(top // 3, top, (3, height, width), dtype=np.uint8) for top in tops])
    noise[-1] = 77
    return torch.from_numpy(noise)


def by_pillow(images: torch.Tensor, change: Callable[[Image.Image], Image.Image]) -> np.ndarray:
    found = [np.asarray(change(Image.fromarray(image.permute(1, 2, 0).numpy()))) for image in images]
    return np.stack(found).transpose(0, 3, 1, 2)


@pytest.mark.parametrize("factor", FACTORS)
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (colours.brightness, ImageEnhance.Brightness),
        (colours.saturation, ImageEnhance.Color),
        (colours.contrast, ImageEnhance.Contrast),
        (colours.sharpness, ImageEnhance.Sharpness),
    ],
)
def test_enhancements_equal_those_of_pillow(ours: Callable, theirs: Callable, factor: float) -> None:
    images = pictures()
    expected = by_pillow(images, lambda image: theirs(image).enhance(factor))
    found = ours(images, torch.full((len(images),), factor)).numpy()
    assert np.abs(found.astype(int) - expected).max() <= 1  # Pillow multiplies in another order
    assert (found == expected).mean() > 0.98


def test_operations_on_histograms_and_bits_equal_those_of_pillow() -> None:
    images = pictures()
    assert np.array_equal(colours.autocontrast(images).numpy(), by_pillow(images, ImageOps.autocontrast))
    assert np.array_equal(colours.equalize(images).numpy(), by_pillow(images, ImageOps.equalize))
    for bits in (2, 5, 8):
        found = colours.posterize(images, torch.full((len(images),), bits)).numpy()
        assert np.array_equal(found, by_pillow(images, lambda image: ImageOps.posterize(image, bits)))  # noqa: B023
    for threshold in (0, 100, 255):
        found = colours.solarize(images, torch.full((len(images),), float(threshold))).numpy()
        assert np.array_equal(found, by_pillow(images, lambda image: ImageOps.solarize(image, threshold)))  # noqa: B023


def read_by_loop(image: np.ndarray, source: Callable[[float, float], tuple[float, float]]) -> np.ndarray:
    """Read each pixel of the result from a point of the image, both in pixels from the centre, bilinearly."""
    _, height, width = image.shape
    found = np.zeros(image.shape)
    for row in range(height):
        for column in range(width):
            x, y = source(column - (width - 1) / 2, row - (height - 1) / 2)
            x, y = x + (width - 1) / 2, y + (height - 1) / 2
            for i in (math.floor(y), math.floor(y) + 1):
                for j in (math.floor(x), math.floor(x) + 1):
                    inside = 0 <= i < height and 0 <= j < width
                    value = image[:, i, j] if inside else FILL.numpy()
                    found[:, row, column] += max(0, 1 - abs(y - i)) * max(0, 1 - abs(x - j)) * value
    return found


ANGLE = math.radians(35)


@pytest.mark.parametrize(
    ("matrices", "source"),
    [
        (shear(torch.tensor([0.6]), along_x=True), lambda x, y: (x + 0.6 * y, y)),
        (shear(torch.tensor([-0.4]), along_x=False), lambda x, y: (x, y - 0.4 * x)),
        (translation(torch.tensor([3.0]), along_x=True), lambda x, y: (x - 3, y)),
        (translation(torch.tensor([-2.5]), along_x=False), lambda x, y: (x, y + 2.5)),
        (
            rotation(torch.tensor([35.0])),
            lambda x, y: (math.cos(ANGLE) * x - math.sin(ANGLE) * y, math.sin(ANGLE) * x + math.cos(ANGLE) * y),
        ),
    ],
)
def test_affine_maps_equal_a_loop_over_pixels(matrices: Matrices, source: Callable) -> None:
    image = pictures(1, 8, 11)
    found = affine(image, matrices, FILL)[0].numpy()
    np.testing.assert_allclose(found, read_by_loop(image[0].numpy(), source), atol=0.51)


def test_a_rotation_is_counter_clockwise_as_in_pillow() -> None:
    image = pictures(1, 9, 9)
    turned = affine(image, rotation(torch.tensor([90.0])), FILL)
    assert np.array_equal(turned.numpy(), by_pillow(image, lambda each: each.rotate(90)))


def test_each_image_gets_its_own_operation_and_strength() -> None:
    images = pictures(2 * len(OPERATIONS), 8, 8).to(memory_format=torch.channels_last)
    before, operations = images.clone(), torch.arange(len(images)) % len(OPERATIONS)
    strengths = torch.linspace(-1, 1, len(images))
    together = trivial_augment(images, operations, strengths, FILL)
    for i in range(len(images)):
        alone = trivial_augment(images[i : i + 1], operations[i : i + 1], strengths[i : i + 1], FILL)
        assert torch.equal(together[i], alone[0])
    assert torch.equal(images, before)
    assert together.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("name", [name for name in OPERATIONS if name not in ("autocontrast", "equalize")])
def test_a_strength_of_zero_changes_nothing(name: str) -> None:
    images = pictures(4, 8, 8).clamp(max=254)  # solarize inverts 255
    operations = torch.full((4,), OPERATIONS.index(name))
    assert torch.equal(trivial_augment(images, operations, torch.zeros(4), FILL), images)


def test_the_largest_strengths_are_those_of_the_wide_space() -> None:
    images = pictures(2, 32, 32)

    def strongest(name: str) -> torch.Tensor:
        return trivial_augment(images, torch.full((2,), OPERATIONS.index(name)), torch.ones(2), FILL)

    assert (strongest("translate_x") == FILL[:, None, None]).all()
    assert torch.equal(strongest("posterize"), images & 0b11000000)
    assert torch.equal(strongest("solarize"), 255 - images)
    assert torch.equal(strongest("rotate"), affine(images, rotation(torch.full((2,), 135.0)), FILL))
    assert torch.equal(strongest("brightness"), colours.brightness(images, torch.full((2,), 1.99)))


def test_operations_and_strengths_are_drawn_evenly() -> None:
    operations, strengths = draw_operations(42_000, torch.Generator().manual_seed(0))
    counts = torch.bincount(operations)
    assert len(counts) == len(OPERATIONS) == 14
    assert (counts - 3000).abs().max() < 5 * 3000**0.5
    assert sorted({round(each * (NUM_STRENGTHS - 1), 4) for each in strengths.abs().tolist()}) == list(range(31))
    assert abs(float(strengths.mean())) < 0.01
