"""Concentrations of map peaks: found where they are planted, and not elsewhere."""

from __future__ import annotations

import pytest
import torch
from torchmetrics.functional.classification import multiclass_confusion_matrix

from firstlight.evaluation.map_peaks import peak_cells, peak_concentrations


def test_the_peak_is_the_cell_with_the_most_positive_evidence():
    maps = torch.zeros(3, 8, 8)
    maps[0, 0:2, 6:8] = 1.0  # the whole upper right cell
    maps[0, 7, 0] = 3.0  # a higher value, but less evidence in its cell
    maps[1] = -5.0
    maps[1, 4, 4] = 0.1
    maps[2] = -1.0
    assert peak_cells(maps).tolist() == [3, 10, -1]
    assert peak_cells(torch.eye(2)[None]).tolist() == [0], "two by two positions are four cells"


def test_a_planted_concentration_comes_first_with_the_shares_that_counting_gives():
    draw = torch.Generator().manual_seed(0)
    labels, cells = torch.randint(0, 4, (400,), generator=draw), torch.randint(0, 16, (400,), generator=draw)
    marked = (labels == 2) & (torch.rand(400, generator=draw) < 0.6)
    cells[marked] = 15
    found = peak_concentrations(cells, labels, 4, 16)
    table = multiclass_confusion_matrix(cells, labels, num_classes=16)
    first = found[0]
    assert (first.label, first.cell) == (2, 15)
    assert (first.num_images, first.num_peaks) == (int((labels == 2).sum()), int(table[2, 15]))
    assert first.share_elsewhere == pytest.approx(float((table[:, 15].sum() - table[2, 15]) / (labels != 2).sum()))
    assert first.q_value < 1e-6
    assert all(each.share < 0.3 for each in found[1:])


def test_maps_without_evidence_are_left_out():
    assert peak_concentrations(torch.full((5,), -1), torch.zeros(5).long(), 2, 4) == []
