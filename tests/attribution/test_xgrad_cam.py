from __future__ import annotations

import pytest
import torch
from torchcam.methods import XGradCAM

from firstlight.attribution import explain, positive_evidence
from firstlight.attribution.hires_cam import hires_cam
from firstlight.attribution.xgrad_cam import xgrad_cam
from firstlight.networks import ResNet9


@pytest.mark.parametrize("stage", ResNet9.stages)
def test_equals_torchcam_at_every_stage(network, images, stage):
    classes = [3, 1, 4, 1, 5]
    with XGradCAM(network, stage) as torchcam:
        (expected,) = torchcam(classes, network(images), normalized=False)
    found = explain(network, images, method="xgrad_cam", stage=stage, target=torch.tensor(classes))
    torch.testing.assert_close(positive_evidence(found.maps), expected, rtol=1e-4, atol=1e-4 * float(expected.max()))


def test_its_sum_is_that_of_hires_cam():
    torch.manual_seed(0)
    activations, gradients = torch.rand(3, 5, 4, 4), torch.randn(3, 5, 4, 4)
    torch.testing.assert_close(
        xgrad_cam(activations, gradients).sum(dim=(1, 2)), hires_cam(activations, gradients).sum(dim=(1, 2))
    )


def test_a_channel_that_sums_to_zero_has_no_weight():
    activations = torch.tensor([[[[1.0, -1.0]], [[0.0, 0.0]]]])
    assert not xgrad_cam(activations, torch.ones_like(activations)).any()
