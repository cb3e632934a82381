from __future__ import annotations

import numpy as np
import pytest
import torch

from firstlight.attribution import explain
from firstlight.attribution.eigen_cam import eigen_cam


@pytest.mark.parametrize("channels", [3, 40])  # fewer and more channels than the 4 * 5 cells
def test_equals_numpys_singular_vectors(channels):
    activations = torch.randn(4, channels, 4, 5, generator=torch.Generator().manual_seed(0)) + 0.3
    found = eigen_cam(activations, torch.zeros_like(activations))
    for image, cam in zip(activations.double().numpy(), found, strict=True):
        cells = image.reshape(channels, -1).T
        first = np.linalg.svd(cells)[2][0]
        expected = (cells @ first).reshape(4, 5)
        np.testing.assert_allclose(cam, expected * np.sign(expected.sum()), rtol=1e-3, atol=1e-4)


def test_the_map_is_the_same_for_every_class(network, images):
    one, other = (explain(network, images, method="eigen_cam", target=target).maps for target in (0, 7))
    torch.testing.assert_close(one, other)


def test_without_activations_the_map_is_zero():
    empty = torch.zeros(1, 3, 2, 2)
    assert not eigen_cam(empty, empty).any()
