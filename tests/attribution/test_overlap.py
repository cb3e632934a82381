from __future__ import annotations

import pytest
import torch

from firstlight.attribution.overlap import energy_inside, pointing_game

MASK = torch.tensor([[[True, True, False], [False, False, False]]])


def test_by_hand():
    # Positive evidence 4 + 1 inside, 2 + 1 outside: 5/8. The peak, 4, is inside. Negative values do not count.
    cam = torch.tensor([[[4.0, 1.0, 2.0], [1.0, -7.0, 0.0]]])
    assert energy_inside(cam, MASK).tolist() == pytest.approx([5 / 8])
    assert pointing_game(cam, MASK).tolist() == [True]


def test_peak_outside_by_hand():
    # 3 inside, 4 outside: energy 3/7, but the peak misses.
    cam = torch.tensor([[[3.0, 0.0, 4.0], [0.0, 0.0, 0.0]]])
    assert energy_inside(cam, MASK).tolist() == pytest.approx([3 / 7])
    assert pointing_game(cam, MASK).tolist() == [False]


def test_without_positive_evidence_nothing_is_inside():
    cam = torch.tensor([[[0.0, 0.0, -1.0], [-1.0, -1.0, -1.0]]])  # largest inside, but not positive
    for each in (cam, torch.zeros_like(cam)):
        assert energy_inside(each, MASK).tolist() == [0.0]
        assert pointing_game(each, MASK).tolist() == [False]


def test_a_constant_map_scores_the_masks_share():
    assert energy_inside(torch.ones(1, 2, 3), MASK).tolist() == pytest.approx([2 / 6])


def test_the_whole_image_and_nothing():
    cam = torch.rand(3, 4, 4)
    assert energy_inside(cam, torch.ones(3, 4, 4).bool()).tolist() == pytest.approx([1.0] * 3)
    assert not pointing_game(cam, torch.zeros(3, 4, 4).bool()).any()
