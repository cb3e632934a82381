from __future__ import annotations

import numpy as np
import pytest
import torch

from firstlight.layers.whitening import PatchWhitening, whitening_filters


def patches_by_loop(images: np.ndarray, size_px: int) -> np.ndarray:
    """Every patch of every image as a row [c s s]."""
    n, _, height, width = images.shape
    return np.array(
        [
            images[i, :, y : y + size_px, x : x + size_px].ravel()
            for i in range(n)
            for y in range(height - size_px + 1)
            for x in range(width - size_px + 1)
        ]
    )


def smooth_images(count: int) -> torch.Tensor:
    """Normalized images with correlated neighbouring pixels, like photographs."""
    noise = torch.randn(count, 3, 6, 6, generator=torch.Generator().manual_seed(0))
    return torch.nn.functional.interpolate(noise, scale_factor=2, mode="bilinear")


@pytest.mark.parametrize("size_px", [1, 2, 3])
def test_whitened_patches_are_uncorrelated_with_variance_one(size_px: int) -> None:
    images = smooth_images(20)
    filters = whitening_filters(images, size_px, epsilon=0.0).flatten(1).double().numpy()
    whitened = patches_by_loop(images.double().numpy(), size_px) @ filters.T
    np.testing.assert_allclose(whitened.T @ whitened / len(whitened), np.eye(3 * size_px**2), atol=2e-3)


def test_epsilon_damps_weak_directions_and_the_strongest_comes_first() -> None:
    images = smooth_images(20)
    sizes = whitening_filters(images, 2, epsilon=5e-4).flatten(1).norm(dim=1)
    patches = patches_by_loop(images.double().numpy(), 2)
    values = np.linalg.eigvalsh(patches.T @ patches / len(patches))[::-1]
    np.testing.assert_allclose(sizes, 1 / np.sqrt(values + 5e-4), rtol=1e-3)


def test_the_layer_has_every_filter_with_both_signs_and_only_the_bias_is_trained() -> None:
    layer = PatchWhitening(3, 2)
    images = smooth_images(5)
    layer.init_from_data(images)
    assert torch.equal(layer.weight[:12], -layer.weight[12:])
    assert torch.equal(layer.weight[:12], whitening_filters(images, 2))
    assert [name for name, each in layer.named_parameters() if each.requires_grad] == ["bias"]


def test_with_fewer_directions_it_keeps_the_strongest() -> None:
    layer, images = PatchWhitening(3, 2, num_directions=5), smooth_images(5)
    layer.init_from_data(images)
    assert layer(images).shape == (5, 10, 11, 11)
    assert torch.equal(layer.weight, torch.cat([layer.weight[:5], -layer.weight[:5]]))
    assert torch.equal(layer.weight[:5], whitening_filters(images, 2)[:5])
