"""What becomes of a whole map before the head."""

from __future__ import annotations

import numpy as np
import torch

from firstlight.networks.pooling import MaxMeanPool


def test_every_map_becomes_its_largest_number_plus_its_mean() -> None:
    maps = torch.randn(3, 5, 4, 7)
    found = MaxMeanPool()(maps)
    assert found.shape == (3, 5, 1, 1)
    expected = maps.numpy().max(axis=(2, 3)) + maps.double().numpy().mean(axis=(2, 3))
    np.testing.assert_allclose(found[:, :, 0, 0].numpy(), expected, rtol=1e-5, atol=1e-6)
