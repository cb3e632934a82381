from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from firstlight.attribution import METHODS, evaluate
from firstlight.attribution.faithfulness import RANDOM
from firstlight.errors import UsageError


class RedSpotNetwork(nn.Module):
    """Predicts "spot" if a 4x4 field of the image is red, else "none", so its evidence is known."""

    stages = ("field",)

    def __init__(self) -> None:
        super().__init__()
        self.field = nn.Sequential(nn.AvgPool2d(4), nn.Conv2d(3, 1, kernel_size=1, bias=False), nn.ReLU())
        self.pool = nn.AdaptiveMaxPool2d(1)
        self.head = nn.Linear(1, 2, bias=False)
        with torch.no_grad():
            self.field[1].weight.copy_(torch.tensor([1.0, -0.5, -0.5])[None, :, None, None])
            self.head.weight.copy_(torch.tensor([[5.0], [-5.0]]))

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.pool(self.field(images)).flatten(1))


@pytest.fixture
def spots() -> tuple[Tensor, Tensor]:
    """Grey images with a red field, and where it is."""
    images, masks = torch.full((6, 3, 16, 16), 0.5), torch.zeros(6, 16, 16, dtype=torch.bool)
    for n, (row, column) in enumerate([(0, 0), (4, 8), (12, 12), (8, 4), (0, 12), (4, 4)]):
        images[n, :, row : row + 4, column : column + 4] = torch.tensor([1.0, 0.0, 0.0])[:, None, None]
        masks[n, row : row + 4, column : column + 4] = True
    return images, masks


def test_every_method_beats_noise_where_the_evidence_is_known(spots):
    images, masks = spots
    rows = evaluate(RedSpotNetwork(), images, masks=masks, stages=["field"], num_steps=16)
    assert [row.method for row in rows] == [*METHODS, RANDOM]
    noise = rows.pop()
    for row in rows:
        assert row.deletion < noise.deletion - 0.1
        assert row.insertion > noise.insertion + 0.1
        assert row.energy_inside > noise.energy_inside + 0.2
        assert row.pointing == 1.0
    assert noise.pointing < 1.0
    assert noise.energy_inside == pytest.approx(1 / 16, abs=0.1)  # the mask's share of the image


def test_all_stages_and_their_fusion_without_masks(network, images):
    rows = evaluate(network, images[:2], methods=["layer_cam"], replacement="blur", num_steps=1)
    stages = (*network.stages, "all")
    assert [(row.stage, row.method) for row in rows] == [
        (stage, method) for stage in stages for method in ("layer_cam", RANDOM)
    ]
    assert all(row.energy_inside is None and row.pointing is None for row in rows)
    assert all(0 <= row.randomization <= 1 for row in rows)
    assert all(0 <= row.deletion <= 1 and 0 <= row.insertion <= 1 for row in rows)


def test_reports_each_row_and_the_number_of_all(network, images):
    reported = []
    rows = evaluate(
        network,
        images,
        methods=["hires_cam", "layer_cam"],
        stages=["layer3", "residual3"],
        num_steps=1,
        on_row=lambda done, total: reported.append((done, total)),
    )
    assert len(rows) == 6
    assert reported == [(done, 6) for done in range(7)]


def test_leaves_the_network_as_it_was(network, images):
    network.train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    evaluate(network, images[:2], methods=["hires_cam"], stages=["residual3"], num_steps=2)
    assert all(module.training for module in network.modules())
    assert all(tensor.equal(before[name]) for name, tensor in network.state_dict().items())


def test_an_unknown_method(network, images):
    with pytest.raises(UsageError, match="no method"):
        evaluate(network, images, methods=["magic"])
