"""Principal components, beside NumPy's singular value decomposition."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from firstlight.evaluation.principal_components import principal_components


@pytest.mark.parametrize("shape", [(50, 7), (4, 9)])
def test_the_projection_is_that_of_the_singular_value_decomposition(shape):
    features = torch.randn(*shape, generator=torch.Generator().manual_seed(0)) * torch.arange(1.0, shape[1] + 1) + 3
    found = principal_components(features, 3)
    array = features.double().numpy()
    _, values, directions = np.linalg.svd(array - array.mean(axis=0), full_matrices=False)
    signs = np.sign(np.take_along_axis(directions, np.abs(directions).argmax(axis=1)[:, None], axis=1))
    expected = (array - array.mean(axis=0)) @ (directions[:3] * signs[:3]).T
    np.testing.assert_allclose(found.coordinates.numpy(), expected, atol=1e-9)
    np.testing.assert_allclose(found.explained.numpy(), values[:3] ** 2 / (values**2).sum(), atol=1e-12)


@pytest.mark.parametrize("shape", [(1, 3), (5, 1), (5, 0), (3, 2)])
def test_degenerate_features_have_finite_coordinates(shape):
    found = principal_components(torch.full(shape, 2.0))
    assert found.coordinates.tolist() == [[0.0, 0.0]] * shape[0]
    assert found.explained.tolist() == [0.0, 0.0]
