from __future__ import annotations

import torch

from firstlight.attribution.maps import has_positive_evidence, positive_evidence, upsample


def test_positive_evidence_does_not_change_the_map():
    cam = torch.tensor([[[-1.0, 2.0]]])
    positive_evidence(cam)
    assert cam.tolist() == [[[-1.0, 2.0]]]


def test_rounding_errors_are_no_evidence():
    maps = torch.tensor([[[1e-7, -1.0]], [[1e-5, -1.0]], [[1e-30, 0.0]]])
    assert has_positive_evidence(maps).tolist() == [False, True, True]


def test_upsampling_keeps_the_cell_layout():
    coarse = torch.arange(16.0).view(1, 4, 4)
    large = upsample(coarse, (32, 32))
    blocks = large.view(1, 4, 8, 4, 8).mean(dim=(2, 4))
    # Inner cells are surrounded evenly: the mean over a cell's 8x8 pixels is the cell.
    torch.testing.assert_close(blocks[:, 1:3, 1:3], coarse[:, 1:3, 1:3])
    assert large.min() >= coarse.min()
    assert large.max() <= coarse.max()


def test_upsampling_to_the_same_size_changes_nothing():
    maps = torch.randn(2, 5, 7)
    torch.testing.assert_close(upsample(maps, (5, 7)), maps)
