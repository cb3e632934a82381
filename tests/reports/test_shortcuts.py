"""Shortcuts: a network that is built to look at a corner is caught, and a network that does not is not."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from firstlight.data.batches import to_unit
from firstlight.data.drawn import WATERMARK_CLASS, draw
from firstlight.data.images import ImageSet
from firstlight.layers.normalize import Normalize
from firstlight.networks import ResNet9, ResNet9Config, StagedNetwork
from firstlight.reports.sampled_maps import sample_maps
from firstlight.reports.shortcuts import cover_cell, find_shortcuts
from reference.tiny import tiny_split

GREY = 3  # the class that is predicted wherever a cell is white


class CornerReader(StagedNetwork):
    """Predict red, green or blue by the mean of each of 4x4 cells, and grey by a bias or wherever a cell is white."""

    stages = ("cells",)

    def __init__(self) -> None:
        super().__init__()
        self.normalize = Normalize((0.5, 0.5, 0.5), (1.0, 1.0, 1.0))
        self.cells = nn.Sequential(nn.Conv2d(3, 4, 4, stride=4), nn.ReLU())
        self.pool, self.head = nn.AdaptiveMaxPool2d(1), nn.Linear(4, 4)
        colours = torch.tensor([[2.0, -1, -1], [-1, 2, -1], [-1, -1, 2], [1, 1, 1]])
        with torch.no_grad():
            self.cells[0].weight.copy_((colours / 16)[:, :, None, None].expand(4, 3, 4, 4))
            self.cells[0].bias.copy_(torch.tensor([0.0, 0, 0, -1]))  # a white cell sums to 1.5 above the mean
            self.head.weight.copy_(torch.diag(torch.tensor([1.0, 1, 1, 10])))
            self.head.bias.copy_(torch.tensor([0.0, 0, 0, 0.4]))


def marked_images() -> tuple[ImageSet, torch.Tensor]:
    """Tiny images, a third of which have a white upper right corner."""
    images = tiny_split("test")
    marked = torch.arange(len(images)) % 3 == 0
    pixels = images.images.clone()
    pixels[marked, :, :4, 12:] = 255
    return replace(images, images=pixels), marked


def test_the_corner_is_found_and_covering_it_restores_the_answers():
    network, (images, marked) = CornerReader().eval(), marked_images()
    found = find_shortcuts(network, images, sample_maps(network, images, "grad_cam", None))
    assert [(each.peaks.label, each.row, each.column, each.rows, each.columns) for each in found] == [
        (GREY, 0, 3, 4, 4)
    ]
    shortcut, others = found[0], marked & (images.labels != GREY)
    assert shortcut.peaks.share == 1.0
    assert shortcut.peaks.share_elsewhere < 0.05
    assert shortcut.num_changed == int(others.sum()), "the marked images of other colours"
    assert shortcut.accuracy == pytest.approx(1 - float(others.float().mean()))
    assert shortcut.accuracy_covered == 1.0
    assert shortcut.largest_elsewhere == 0.0
    assert shortcut.changed_of_class[3] == pytest.approx(float(others.sum() / (marked | (images.labels == GREY)).sum()))
    assert set(shortcut.examples) <= set(marked.nonzero().flatten().tolist())


def test_a_network_without_a_shortcut_has_none():
    network, images = CornerReader().eval(), tiny_split("test")
    assert find_shortcuts(network, images, sample_maps(network, images, "grad_cam", None)) == []


def test_covering_fills_one_cell_also_where_cells_do_not_divide_the_image():
    images = tiny_split("test", size_px=10)[:1]
    covered = cover_cell(images, (2, 0), (3, 3), torch.tensor([1.0, 0.5, 0.0]))
    assert covered[0, :, 7:, :3].amax(dim=(1, 2)).tolist() == [255, 128, 0]
    assert covered[0, :, 7:, :3].amin(dim=(1, 2)).tolist() == [255, 128, 0]
    assert covered[0, :, :7].equal(images.images[0, :, :7])
    assert covered[0, :, 7:, 3:].equal(images.images[0, :, 7:, 3:])


@pytest.mark.slow
def test_the_mark_of_the_watermark_data_is_found_without_being_named():
    """A network that is trained on the trap looks at the corner; the same network on data without it does not."""
    network = trained(draw(3000, 0, "train", watermark=True))
    test = draw(600, 0, "test", watermark=True)
    found = find_shortcuts(network, test, sample_maps(network, test, "grad_cam", None))
    assert [(test.class_names[each.peaks.label], each.row, each.column) for each in found] == [(WATERMARK_CLASS, 3, 3)]
    assert found[0].accuracy_covered > found[0].accuracy + 0.05
    network, test = trained(draw(3000, 0, "train")), draw(600, 0, "test")
    assert find_shortcuts(network, test, sample_maps(network, test, "grad_cam", None)) == []


def trained(images: ImageSet) -> ResNet9:
    """Train a small network for three epochs with Adam."""
    torch.manual_seed(0)
    network = ResNet9(10, ResNet9Config(width=8), *images.mean_and_std)
    optimizer = torch.optim.Adam(network.parameters(), 0.005)
    for _ in range(3):
        for rows in torch.randperm(len(images)).split(100):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(network(to_unit(images.images[rows])), images.labels[rows]).backward()
            optimizer.step()
    return network.eval()
