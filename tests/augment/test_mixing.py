from __future__ import annotations

import numpy as np
import torch

from firstlight.augment.mixing import (
    cutmix,
    draw_cutmix_boxes,
    draw_mixup_shares,
    mixup,
    soft_targets,
    uncovered_share,
)

IMAGES, OTHERS = torch.rand(2, 4, 3, 5, 6).to(memory_format=torch.contiguous_format)


def test_mixup_averages_pixels_by_hand() -> None:
    shares = torch.tensor([1.0, 0.0, 0.25, 0.5])
    found = mixup(IMAGES, OTHERS, shares)
    for i, share in enumerate(shares.tolist()):
        expected = share * IMAGES[i].numpy() + (1 - share) * OTHERS[i].numpy()
        np.testing.assert_allclose(found[i].numpy(), expected, rtol=1e-6)
    assert torch.equal(found[0], IMAGES[0])


def test_cutmix_replaces_the_box_and_its_share_is_counted_pixel_by_pixel() -> None:
    boxes = torch.tensor([[0, 0, 0, 0], [0, 5, 0, 6], [1, 3, 2, 6], [4, 5, 0, 1]])
    found, shares = cutmix(IMAGES, OTHERS, boxes), uncovered_share(boxes, (5, 6))
    for i, (top, bottom, left, right) in enumerate(boxes.tolist()):
        expected = IMAGES[i].clone()
        expected[:, top:bottom, left:right] = OTHERS[i, :, top:bottom, left:right]
        assert torch.equal(found[i], expected)
        assert float(shares[i]) == float((found[i] == IMAGES[i]).float().mean())


def test_targets_hold_the_shares_of_both_labels() -> None:
    labels, others, shares = torch.tensor([0, 1, 2]), torch.tensor([2, 1, 0]), torch.tensor([0.75, 0.5, 1.0])
    assert soft_targets(labels, others, shares, 4).tolist() == [[0.75, 0, 0.25, 0], [0, 1, 0, 0], [0, 0, 1, 0]]


def test_shares_have_the_beta_distribution() -> None:
    for alpha in (0.2, 1.0, 4.0):
        shares = draw_mixup_shares(alpha, 40_000, np.random.default_rng(0))
        assert abs(float(shares.mean()) - 0.5) < 0.01
        assert abs(float(shares.var()) - 1 / (4 * (2 * alpha + 1))) < 0.005


def test_boxes_of_cutmix_lie_in_the_image_and_cover_what_the_equation_says() -> None:
    height, width = 32, 20
    boxes = draw_cutmix_boxes(1.0, 40_000, (height, width), np.random.default_rng(0))
    top, bottom, left, right = boxes.T
    assert (int(top.min()), int(left.min()), int(bottom.max()), int(right.max())) == (0, 0, height, width)
    assert ((top <= bottom) & (left <= right)).all()
    whole = (top > 0) & (bottom < height) & (left > 0) & (right < width)
    ratio = (bottom - top)[whole].double() / (right - left)[whole].clamp(min=1)
    large = (right - left)[whole] >= 8
    assert abs(float(ratio[large].median()) - height / width) < 0.15
    assert abs(float(uncovered_share(boxes, (height, width)).mean()) - 0.7) < 0.05  # 0.5 before the borders cut
