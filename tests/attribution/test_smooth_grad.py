from __future__ import annotations

import pytest
import torch
from captum.attr import Saliency

from firstlight.attribution import explain
from firstlight.attribution.smooth_grad import NOISE, NUM_SAMPLES, smooth_grad


@pytest.mark.filterwarnings("ignore:images have values from")  # captum's noisy images leave [0, 1] on purpose
def test_equals_a_slow_loop_over_captums_gradients(network, images):
    classes = torch.tensor([3, 1, 4, 1, 5])
    draw = torch.Generator().manual_seed(0)
    total = torch.zeros_like(images)
    for _ in range(NUM_SAMPLES):
        noise = torch.randn(3, 32, 32, generator=draw)
        noisy = torch.stack([image + NOISE * (image.max() - image.min()) * noise for image in images])
        total += Saliency(network).attribute(noisy, classes, abs=False)
    expected = (total / NUM_SAMPLES).abs().sum(dim=1)
    found = explain(network, images, method="smooth_grad", target=classes)
    torch.testing.assert_close(found.maps, expected, rtol=1e-3, atol=1e-4 * float(expected.max()))
    assert float(found.maps.min()) >= 0


def test_averaging_over_noise_removes_oscillating_gradients():
    images = torch.rand(1, 3, 4, 4)
    found = smooth_grad(lambda x: (100 * x).cos(), images, num_samples=2000)
    assert float(found.max()) < 0.3  # a single gradient reaches 3
