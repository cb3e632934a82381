from __future__ import annotations

import torch
from captum.attr import IntegratedGradients

from firstlight.attribution import explain
from firstlight.attribution.integrated_gradients import NUM_STEPS, integrated_gradients
from firstlight.attribution.perturbing_methods import PIXELS

CLASSES = torch.tensor([3, 1, 4, 1, 5])


def test_equals_captum_with_the_midpoint_rule(network, images):
    images, classes = images[:2, :, :16, :16], CLASSES[:2]
    covered = network.normalize.mean.expand_as(images)
    captum = IntegratedGradients(network)
    expected = captum.attribute(images, covered, classes, n_steps=NUM_STEPS, method="riemann_middle").sum(dim=1)
    found = explain(network, images, method="integrated_gradients", target=classes)
    assert found.stage == PIXELS
    torch.testing.assert_close(found.maps, expected.detach().float(), rtol=1e-3, atol=1e-3 * float(expected.max()))


def test_the_pixels_sum_to_the_difference_of_the_scores():
    weights = torch.randn(3, 8, 8, generator=torch.Generator().manual_seed(0))
    score = lambda images: ((images * weights).sum(dim=(1, 2, 3))) ** 2  # noqa: E731

    def gradient(images: torch.Tensor) -> torch.Tensor:
        return 2 * (images * weights).sum(dim=(1, 2, 3))[:, None, None, None] * weights

    images, covered = torch.rand(2, 3, 8, 8), torch.rand(2, 3, 8, 8)
    found = integrated_gradients(gradient, images, covered, num_steps=3)  # exact, since the gradient is linear
    torch.testing.assert_close(found.sum(dim=(1, 2)), score(images) - score(covered), rtol=1e-4, atol=1e-3)
