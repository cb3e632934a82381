"""Slices against plain enumeration, and a planted weakness that must be listed first."""

from __future__ import annotations

from fractions import Fraction
from itertools import combinations
from math import comb

import numpy as np
import pytest
import torch

from firstlight.evaluation.slices import (
    benjamini_hochberg,
    find_pairs,
    find_slices,
    hypergeometric_tail,
    image_attributes,
)

NAMES = ["cat", "dog", "frog", "ship"]


@pytest.mark.parametrize(("n", "wrong", "size", "found"), [(7, 3, 4, 2), (8, 2, 5, 0), (8, 8, 3, 3), (9, 4, 6, 4)])
def test_the_tail_is_the_share_of_all_draws(n, wrong, size, found):
    draws = list(combinations(range(n), size))
    share = sum(sum(image < wrong for image in draw) >= found for draw in draws) / len(draws)
    assert hypergeometric_tail(n, wrong, size, found) == pytest.approx(share, abs=1e-12)


def test_the_tail_is_accurate_for_ten_thousand_images():
    exact = sum(Fraction(comb(500, k) * comb(9500, 2000 - k), comb(10_000, 2000)) for k in range(140, 501))
    assert hypergeometric_tail(10_000, 500, 2000, 140) == pytest.approx(float(exact), rel=1e-6)


def test_q_values_agree_with_the_step_up_procedure():
    p_values = np.random.default_rng(0).uniform(0, 0.2, 40).tolist()
    for rate in (0.05, 0.1, 0.2):
        ascending = sorted(p_values)
        below = [k for k, p in enumerate(ascending, 1) if p <= k / len(p_values) * rate]
        threshold = ascending[max(below) - 1] if below else -1.0
        rejected = [p <= threshold for p in p_values]
        assert [q <= rate for q in benjamini_hochberg(p_values)] == rejected


def images_of_four_classes(num: int = 400) -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(0)
    return torch.randint(60, 200, (num, 3, 16, 16), generator=draw, dtype=torch.uint8), torch.arange(num) % 4


def test_a_planted_weakness_comes_first():
    """The images of one class are darker, and the network misclassifies them."""
    images, labels = images_of_four_classes()
    dimmed = (labels == 2) & (torch.arange(400) % 3 > 0)
    images[dimmed] //= 4
    draw = torch.Generator().manual_seed(1)
    right = torch.where(dimmed, torch.rand(400, generator=draw) < 0.4, torch.rand(400, generator=draw) < 0.95)
    slices = find_slices(image_attributes(images), labels, NAMES, right)
    assert slices[0].q_value < 1e-6
    assert slices[0].name.endswith("lowest fifth")  # darker images also have less contrast and sharpness
    assert {each.name for each in slices[:6]} >= {"brightness: lowest fifth", "class: frog"}
    pairs = find_pairs(slices, right)
    assert "class: frog" in pairs[0].name
    assert pairs[0].accuracy <= slices[0].accuracy


def test_random_mistakes_are_no_discovery():
    images, labels = images_of_four_classes()
    right = torch.rand(400, generator=torch.Generator().manual_seed(3)) < 0.9
    assert all(each.q_value > 0.05 for each in find_slices(image_attributes(images), labels, NAMES, right))


def test_attributes_by_hand():
    grey = torch.full((1, 3, 16, 16), 51, dtype=torch.uint8)
    flat = image_attributes(grey)
    assert flat["brightness"].item() == pytest.approx(0.2, abs=1e-6)
    assert flat["contrast"].item() == pytest.approx(0, abs=1e-6)
    assert flat["sharpness"].item() == pytest.approx(0, abs=1e-6)
    assert flat["colourfulness"].item() == pytest.approx(0, abs=1e-6)
    framed = grey.clone()
    framed[:, :, 2:-2, 2:-2] = 255
    assert image_attributes(framed)["background brightness"].item() == pytest.approx(0.2, abs=1e-6)
    halves = grey.clone()
    halves[:, :, :, 8:] = 255
    assert image_attributes(halves)["contrast"].item() == pytest.approx(0.4, abs=1e-6)
    red = torch.zeros(1, 3, 16, 16, dtype=torch.uint8)
    red[:, 0] = 255
    assert image_attributes(red)["colourfulness"].item() == pytest.approx(0.3 * (1 + 0.25) ** 0.5, abs=1e-6)


def test_every_image_is_in_one_fifth_of_each_attribute():
    images, labels = images_of_four_classes(103)
    slices = find_slices(image_attributes(images), labels, NAMES, torch.ones(103, dtype=torch.bool))
    brightness = [each.members for each in slices if each.name.startswith("brightness")]
    assert torch.stack(brightness).sum(dim=0).tolist() == [1] * 103
    constant = find_slices({"same": torch.ones(103)}, labels, NAMES, torch.ones(103, dtype=torch.bool))
    assert [each.num_images for each in constant if each.name.startswith("same")] == [103]


def test_the_background_has_the_colour_of_the_border():
    image = torch.zeros(1, 3, 16, 16, dtype=torch.uint8)
    image[:, 0] = 255  # red, and a blue centre
    image[:, :, 2:-2, 2:-2] = torch.tensor([0, 0, 255], dtype=torch.uint8)[:, None, None]
    found = image_attributes(image)
    assert found["background redness"].item() == pytest.approx(1.0)
    assert found["background yellowness"].item() == pytest.approx(0.5)


def test_the_aspect_ratio_of_an_object_does_not_change_with_its_direction():
    masks = torch.zeros(4, 32, 32, dtype=torch.bool)
    masks[0, 10:14, 4:28] = True  # 24 by 4 pixels
    masks[1] = masks[0].T
    rows, columns = torch.meshgrid(torch.arange(32.0), torch.arange(32.0), indexing="ij")
    along, across = (rows + columns - 31) / 2**0.5, (rows - columns) / 2**0.5
    masks[2] = (along.abs() <= 12) & (across.abs() <= 2)
    images = torch.zeros(4, 3, 32, 32, dtype=torch.uint8)
    found = image_attributes(images, masks)
    assert found["object aspect ratio"][:2].tolist() == pytest.approx([6.0, 6.0])
    assert found["object aspect ratio"][2].item() == pytest.approx(6.0, rel=0.1)
    assert found["object aspect ratio"][3].item() == 1.0, "an empty mask"
    assert found["object size"].tolist() == pytest.approx([96 / 1024, 96 / 1024, masks[2].float().mean().item(), 0])
