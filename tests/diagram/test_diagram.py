"""The diagram of a network: its content, and that all texts are legible."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from xml.etree import ElementTree

import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox
from PIL import Image
from torch import Tensor, nn

from firstlight.diagram import draw_network
from firstlight.diagram.blocks import Arc, make_blocks, route_arcs
from firstlight.layers.residual import Residual
from firstlight.networks import ResNet9, ResNet9Config
from firstlight.receptive_field import trace


class Branches(nn.Module):
    """Two branches that are concatenated, and a gate."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, stride=2, padding=1)
        self.short = nn.Conv2d(4, 4, 1)
        self.long = nn.Sequential(nn.Conv2d(4, 4, 3, padding=2, dilation=2), nn.ReLU(), nn.Conv2d(4, 4, 3, padding=1))
        self.gate = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(8, 8, 1), nn.Sigmoid())

    def forward(self, images: Tensor) -> Tensor:
        x = self.stem(images)
        x = torch.cat([self.short(x), self.long(x)], dim=1)
        return x * self.gate(x)


NETWORKS = {
    "resnet9": ResNet9(10, ResNet9Config(4)),
    "branches": Branches(),
    "nested": nn.Sequential(
        nn.Conv2d(3, 4, 3), Residual(nn.Sequential(nn.Conv2d(4, 4, 1), Residual(nn.Conv2d(4, 4, 1))))
    ),
    "one layer": nn.Sequential(nn.Conv2d(3, 4, 3)),
}


def text_boxes(figure: Figure) -> dict[str, Bbox]:
    """Return the box of every text in pixels, by text and index."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    texts = [text for text in figure.axes[0].texts if text.get_text()]
    return {f"{index} {text.get_text()}": text.get_window_extent() for index, text in enumerate(texts)}


class TestBlocks:
    def test_of_resnet9(self) -> None:
        blocks = make_blocks(trace(NETWORKS["resnet9"], 32))
        assert [block.texts[0].replace("\n", " ") for block in blocks] == [
            "image",
            "conv 3x3",
            *["conv 3x3", "max-pool 2x2"],
            *["conv 3x3", "conv 3x3", "add"],
            *["conv 3x3", "max-pool 2x2"] * 2,
            *["conv 3x3", "conv 3x3", "add"],
            *["max-pool 4x4", "linear"],
        ]
        assert [block.pointwise for block in blocks[:4]] == [["Normalize"], ["ReLU", "BN"], [], ["ReLU", "BN"]]

    def test_height_follows_the_map_and_thickness_the_channels(self) -> None:
        convolutions = [b for b in make_blocks(trace(NETWORKS["resnet9"], 32)) if b.layer.role == "convolution"]
        heights = [block.height**2 / convolutions[0].height ** 2 * 32 for block in convolutions]
        assert heights == pytest.approx([32, 32, 16, 16, 16, 8, 4, 4])
        assert [block.width for block in convolutions] == sorted(block.width for block in convolutions)

    def test_residual_arcs_of_resnet9(self) -> None:
        blocks = make_blocks(trace(NETWORKS["resnet9"], 32))
        arcs = [(blocks[arc.start].layer.name, blocks[arc.end].layer.name) for arc in route_arcs(blocks)]
        assert arcs == [("layer1.pool", "residual1.add"), ("layer3.pool", "residual3.add")]

    def test_arcs_of_branches(self) -> None:
        blocks = make_blocks(trace(NETWORKS["branches"], 32))
        arcs = {(blocks[arc.start].layer.name, blocks[arc.end].layer.name) for arc in route_arcs(blocks)}
        assert arcs == {("stem", "long.0"), ("short", "cat"), ("cat", "mul")}

    @pytest.mark.parametrize("name", NETWORKS)
    def test_arcs_clear_the_blocks_and_each_other(self, name: str) -> None:
        blocks = make_blocks(trace(NETWORKS[name], 32))
        arcs = route_arcs(blocks)
        for arc in arcs:
            assert arc.height > max(block.top for block in blocks[arc.start : arc.end + 1])
        for one, other in combinations(arcs, 2):
            assert not overlap(one, other) or abs(one.height - other.height) > 0.1


def overlap(one: Arc, other: Arc) -> bool:
    return one.start < other.end and other.start < one.end


class TestDrawing:
    @pytest.mark.parametrize("name", NETWORKS)
    def test_no_text_is_cut_off_or_overlaps_another(self, name: str) -> None:
        figure = draw_network(NETWORKS[name], 32)
        boxes = text_boxes(figure)
        width, height = figure.get_size_inches() * figure.dpi
        for text, box in boxes.items():
            assert box.x0 >= 0, text
            assert box.y0 >= 0, text
            assert box.x1 <= width, text
            assert box.y1 <= height, text
        for (text, box), (other_text, other) in combinations(boxes.items(), 2):
            assert not box.padded(-1).overlaps(other.padded(-1)), (text, other_text)

    def test_the_title_describes_the_network(self) -> None:
        written = [text.get_text() for text in draw_network(ResNet9(10), 32).axes[0].texts]
        assert "ResNet9: 6,573,120 parameters, 379,261,952 multiply-accumulates for one 32x32 image" in written
        assert {"prep", "layer1", "residual1", "layer2", "layer3", "residual3", "head"} <= set(written)
        assert written.count("+") == 2
        assert written.count("512") == 6

    def test_fits_a_landscape_page(self) -> None:
        width, height = draw_network(NETWORKS["resnet9"], 32).get_size_inches()
        assert width < 11.7
        assert height < 8.3

    def test_saves_svg_and_png(self, tmp_path: Path) -> None:
        figure = draw_network(NETWORKS["branches"], 32)
        for suffix in ("svg", "png"):
            figure.savefig(tmp_path / f"network.{suffix}")
        assert ElementTree.parse(tmp_path / "network.svg").getroot().tag.endswith("svg")
        with Image.open(tmp_path / "network.png") as image:
            assert image.width > image.height > 300
