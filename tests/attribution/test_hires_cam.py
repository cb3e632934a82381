from __future__ import annotations

import pytest
import torch

from firstlight.attribution import explain
from firstlight.attribution.hires_cam import hires_cam


def test_by_hand(tiny, tiny_image):
    # Class 1: 2 times red's largest, 0.4, lower right; 3 times green's, 0.8, upper left. In sum the logit, 3.2.
    found = explain(tiny, tiny_image, method="hires_cam")
    torch.testing.assert_close(found.maps, torch.tensor([[[2.4, 0.0], [0.0, 0.8]]]))


def test_contrast_by_hand(tiny, tiny_image):
    # Class 1 over class 0: head weights (2, 3) - (1, -1) = (1, 4). In sum 3.2 - (-0.4) = 3.6.
    found = explain(tiny, tiny_image, method="hires_cam", target="contrast", labels=torch.tensor([0]))
    torch.testing.assert_close(found.maps, torch.tensor([[[3.2, 0.0], [0.0, 0.4]]]))


def test_equals_a_loop():
    activations, gradients = torch.randn(2, 3, 2, 2), torch.randn(2, 3, 2, 2)
    found = hires_cam(activations, gradients)
    for n, i, j in [(n, i, j) for n in range(2) for i in range(2) for j in range(2)]:
        expected = sum(float(activations[n, c, i, j] * gradients[n, c, i, j]) for c in range(3))
        assert float(found[n, i, j]) == pytest.approx(expected, abs=1e-5)


def test_sums_to_the_logit(full_network, images):
    classes = torch.tensor([0, 4, 9])
    found = explain(full_network, images[:3], method="hires_cam", target=classes)
    logits = found.logits.gather(1, classes[:, None])[:, 0]
    torch.testing.assert_close(found.maps.sum(dim=(1, 2)), logits, rtol=0, atol=1e-4)


def test_sums_to_the_logit_and_agrees_with_grad_cam_after_mean_pooling(network, images):
    network.pool = torch.nn.AdaptiveAvgPool2d(1)
    hires = explain(network, images, method="hires_cam")
    logits = hires.logits.amax(dim=1)
    torch.testing.assert_close(hires.maps.sum(dim=(1, 2)), logits, rtol=0, atol=1e-4)
    torch.testing.assert_close(hires.maps, explain(network, images, method="grad_cam").maps, rtol=1e-5, atol=1e-6)
