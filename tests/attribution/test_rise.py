from __future__ import annotations

import torch

from firstlight.attribution.rise import GRID, SHARE_SHOWN, random_masks, rise


def test_equals_a_slow_loop(network, images):
    images, num_masks = images[:1, :, :16, :16], 20
    covered = network.normalize.mean.expand_as(images)
    masks = random_masks(num_masks, (16, 16), seed=5)
    with torch.no_grad():
        found = rise(lambda masked: network(masked)[:, 3], images, covered, num_masks=num_masks, seed=5)
        scores = [network(covered + (images - covered) * mask)[0, 3] for mask in masks]
    mean = sum(scores) / num_masks
    expected = sum((score - mean) * mask for score, mask in zip(scores, masks, strict=True))
    expected = expected / (SHARE_SHOWN * num_masks)
    torch.testing.assert_close(found[0], expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max()))


def test_finds_the_pixel_that_alone_decides():
    images = torch.ones(1, 3, 21, 28)
    found = rise(lambda x: x[:, 0, 15, 4], images, torch.zeros_like(images), num_masks=1000)
    row, column = divmod(int(found.flatten().argmax()), 28)
    assert abs(row - 15) <= 21 / GRID / 2
    assert abs(column - 4) <= 28 / GRID / 2


def test_masks_show_half_of_the_image_and_differ():
    masks = random_masks(1000, (32, 20), seed=3)
    assert masks.shape == (1000, 32, 20)
    assert float(masks.min()) >= 0
    assert float(masks.max()) <= 1 + 1e-6
    assert abs(float(masks.mean()) - SHARE_SHOWN) < 0.02
    assert len({tuple(mask.flatten().tolist()) for mask in masks[:50]}) == 50
    assert masks.equal(random_masks(1000, (32, 20), seed=3))
