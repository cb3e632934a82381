from __future__ import annotations

import pytest
import torch
from torchcam.methods import LayerCAM

from firstlight.attribution import explain, positive_evidence
from firstlight.networks import ResNet9


def test_by_hand(tiny, tiny_image):
    # Class 0 has head weights (1, -1): green is negative evidence and is left out. Red's maximum is 0.4, lower right.
    found = explain(tiny, tiny_image, method="layer_cam", target=torch.tensor([0]))
    torch.testing.assert_close(found.maps, torch.tensor([[[0.0, 0.0], [0.0, 0.4]]]))


@pytest.mark.parametrize("stage", ResNet9.stages)
def test_equals_torchcam_at_every_stage(network, images, stage):
    classes = [3, 1, 4, 1, 5]
    with LayerCAM(network, stage) as torchcam:
        (expected,) = torchcam(classes, network(images), normalized=False)
    found = explain(network, images, method="layer_cam", stage=stage, target=torch.tensor(classes))
    torch.testing.assert_close(positive_evidence(found.maps), expected, rtol=1e-5, atol=1e-5 * float(expected.max()))
