from __future__ import annotations

import copy

import pytest
import torch
from captum.attr import LayerGradCam

from firstlight.attribution import explain
from firstlight.attribution.grad_cam import grad_cam
from firstlight.networks import ResNet9


def test_by_hand(tiny, tiny_image):
    # Class 1 has head weights (2, 3). Max pooling sends 2 to one of red's four cells, 3 to one of green's:
    # mean gradients 2/4 and 3/4. Upper left: 0.5 * 0.1 + 0.75 * 0.8 = 0.65.
    found = explain(tiny, tiny_image, method="grad_cam")
    assert found.classes.tolist() == [1]  # 2 * 0.4 + 3 * 0.8 = 3.2 against 0.4 - 0.8
    assert found.logits[0].tolist() == pytest.approx([-0.4, 3.2])
    torch.testing.assert_close(found.maps, torch.tensor([[[0.65, 0.55], [0.45, 0.35]]]))


def test_signed_by_hand(tiny, tiny_image):
    # Class 0 has head weights (1, -1): weights 1/4 and -1/4. Upper left: (0.1 - 0.8) / 4.
    found = explain(tiny, tiny_image, method="grad_cam", target=torch.tensor([0]))
    torch.testing.assert_close(found.maps, torch.tensor([[[-0.175, -0.1], [-0.025, 0.05]]]))


@pytest.mark.parametrize("stage", ResNet9.stages)
def test_equals_captum_at_every_stage(full_network, images, stage):
    # In float64: in float32 rounding can break a near tie in a max-pool differently.
    network, images, classes = copy.deepcopy(full_network).double(), images[:2].double(), torch.tensor([3, 9])
    expected = LayerGradCam(network, network.get_submodule(stage)).attribute(images, classes)[:, 0].detach().float()
    found = explain(network, images, method="grad_cam", stage=stage, target=classes)
    scale = float(expected.abs().max())
    torch.testing.assert_close(found.maps, expected, rtol=1e-5, atol=1e-5 * scale)


def test_constant_gradients_are_the_weights():
    activations = torch.rand(2, 3, 4, 4)
    weights = torch.randn(2, 3)
    even = weights[:, :, None, None].expand(2, 3, 4, 4)
    expected = sum(weights[:, c, None, None] * activations[:, c] for c in range(3))
    torch.testing.assert_close(grad_cam(activations, even), expected)
