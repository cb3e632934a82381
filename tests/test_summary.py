"""The layer table: totals against an independent counter, rows against SPEC, and its three renderings."""

from __future__ import annotations

import io
import json

import pytest
import torch
from rich.console import Console
from torch import Tensor, nn

from firstlight.networks import ResNet9, ResNet9Config
from firstlight.summary import Summary, summarize
from reference.macs import count_macs


class Depthwise(nn.Module):
    """A parameter of its own, a grouped convolution, a shared layer, a biased head, and a layer that never runs."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(4, 1, 1))
        self.stem = nn.Conv2d(3, 4, 3, stride=2, padding=1)
        self.depthwise = nn.Conv2d(4, 4, (3, 1), groups=4, padding="same")
        self.unused = nn.Linear(7, 7)
        self.head = nn.Linear(4 * 8 * 8, 5)

    def forward(self, images: Tensor) -> Tensor:
        x = self.stem(images) * self.scale
        return self.head(self.depthwise(self.depthwise(x)).flatten(1))


@pytest.fixture(scope="module")
def resnet9() -> Summary:
    return summarize(ResNet9(10), 32)


class TestTotals:
    def test_resnet9(self, resnet9: Summary) -> None:
        assert (resnet9.parameters, resnet9.macs) == (6_573_120, 379_261_952)

    @pytest.mark.parametrize(
        ("network", "size_px"),
        [(ResNet9(10), 32), (ResNet9(7, ResNet9Config(4)), 48), (Depthwise(), 16)],
        ids=["resnet9", "narrow", "depthwise"],
    )
    def test_equal_the_independent_counter(self, network: nn.Module, size_px: int) -> None:
        summary = summarize(network, size_px)
        assert summary.macs == count_macs(network.eval(), torch.rand(1, 3, size_px, size_px))
        assert summary.parameters == sum(parameter.numel() for parameter in network.parameters())

    def test_are_the_sums_of_the_rows(self, resnet9: Summary) -> None:
        rows = [row for stage in resnet9.stages for row in stage.layers]
        assert sum(row.parameters for row in rows) == resnet9.parameters
        assert sum(row.macs for row in rows) == resnet9.macs

    def test_parameters_outside_the_layers(self) -> None:
        rows = {stage.name: stage.layers for stage in summarize(Depthwise(), 16).stages}
        assert rows["mul"][0].parameters == 4  # the scale belongs to the network itself
        assert "unused" not in rows
        assert [row.parameters for row in rows["depthwise"]] == [16, 0]  # used twice, counted once


class TestRows:
    def test_stages(self, resnet9: Summary) -> None:
        stages = [stage.name for stage in resnet9.stages]
        assert stages == ["image", "normalize", *ResNet9.stages, "pool", "head"]

    def test_sizes_of_each_stage(self, resnet9: Summary) -> None:
        last = {stage.name: stage.layers[-1] for stage in resnet9.stages}
        assert {name: (row.output, row.receptive_field_px[0]) for name, row in last.items()} == {
            "image": ((3, 32, 32), 1),
            "normalize": ((3, 32, 32), 1),
            "prep": ((64, 32, 32), 3),
            "layer1": ((128, 16, 16), 6),
            "residual1": ((128, 16, 16), 14),
            "layer2": ((256, 8, 8), 20),
            "layer3": ((512, 4, 4), 32),
            "residual3": ((512, 4, 4), 64),
            "pool": ((512, 1, 1), 88),
            "head": ((10,), 88),
        }

    def test_windows_are_named(self) -> None:
        layers = [nn.Conv2d(3, 2, 3, stride=2, dilation=(1, 2)), nn.MaxPool2d(2), nn.AvgPool2d(3, 1), nn.ReLU()]
        kinds = [stage.layers[0].kind for stage in summarize(nn.Sequential(*layers), 32).stages]
        assert kinds == ["input", "Conv2d 3x3 stride 2 dilation 1x2", "MaxPool2d 2x2", "AvgPool2d 3x3 stride 1", "ReLU"]


class TestRendering:
    def test_table_fits_eighty_columns(self, resnet9: Summary) -> None:
        console = Console(width=80, record=True, file=io.StringIO())
        console.print(resnet9.as_table())
        lines = [line.strip() for line in console.export_text().splitlines() if line.strip()]
        assert lines[0] == "ResNet9, one 32x32 image: 6,573,120 parameters, 379,261,952 multiply-accumulates"
        assert "layer1" in lines
        assert "pool          MaxPool2d 2x2  128x16x16         6    2" in lines
        assert "conv          Conv2d 3x3     128x32x32         5    1     73,728  75,497,472" in lines
        assert "add           add              512x4x4   64 (24)    8" in lines
        assert lines[-2].split() == ["total", "6,573,120", "379,261,952"]

    def test_markdown(self) -> None:
        network = nn.Sequential(nn.Conv2d(3, 2, (3, 1), padding=(1, 0), bias=False), nn.Flatten())
        assert summarize(network, 4).as_markdown() == (
            "Sequential, one 4x4 image: 18 parameters, 288 multiply-accumulates\n"
            "\n"
            "| stage | layer | kind | output | receptive field | narrowest path | jump | parameters | MACs |\n"
            "| --- | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |\n"
            "| image |  | input | 3x4x4 | 1 | 1 | 1 |  |  |\n"
            "| 0 |  | Conv2d 3x1 | 2x4x4 | 3x1 | 3x1 | 1 | 18 | 288 |\n"
            "| 1 |  | Flatten | 32 | 3x1 | 3x1 | 1 |  |  |\n"
            "| **total** |  |  |  |  |  |  | **18** | **288** |\n"
        )

    def test_json(self, resnet9: Summary) -> None:
        read = json.loads(resnet9.as_json())
        assert (read["network"], read["size_px"], read["macs"]) == ("ResNet9", 32, 379_261_952)
        assert read["stages"][-1]["layers"][0] == {
            "name": "",
            "kind": "Linear",
            "output": [10],
            "receptive_field_px": [88, 88],
            "narrowest_px": [48, 48],
            "jump_px": [32, 32],
            "parameters": 5120,
            "macs": 5120,
        }
