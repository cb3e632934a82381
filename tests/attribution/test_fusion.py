from __future__ import annotations

import pytest
import torch

from firstlight.attribution.fusion import fuse


def test_the_scale_of_a_stage_has_no_effect():
    fine, coarse = torch.randn(2, 4, 4), torch.randn(2, 2, 2)
    torch.testing.assert_close(fuse([fine, coarse], (8, 8)), fuse([1000 * fine, 0.01 * coarse], (8, 8)))


def test_a_map_of_zeros_adds_nothing():
    fused = fuse([torch.zeros(1, 4, 4), torch.full((1, 2, 2), -3.0)], (4, 4))
    torch.testing.assert_close(fused, torch.full((1, 4, 4), -0.5))


def test_each_image_is_scaled_by_itself():
    maps = torch.randn(3, 4, 4)
    together = fuse([maps], (4, 4))
    for n in range(3):
        torch.testing.assert_close(together[n : n + 1], fuse([maps[n : n + 1]], (4, 4)))


def test_fusion_without_maps_is_refused():
    with pytest.raises(ValueError, match="at least one stage"):
        fuse([], (4, 4))
