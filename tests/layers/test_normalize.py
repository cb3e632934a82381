from __future__ import annotations

import pytest
import torch
from torch import nn

from firstlight.layers.normalize import CIFAR10_MEAN, CIFAR10_STD, Normalize, without_range_check


def test_each_channel_is_shifted_and_scaled_by_its_own_numbers() -> None:
    normalize = Normalize((0.1, 0.5, 0.9), (0.1, 0.25, 0.5))
    images = torch.tensor([0.3, 0.0, 0.4]).reshape(1, 3, 1, 1).expand(2, 3, 2, 3)
    # (0.3 - 0.1) / 0.1, (0 - 0.5) / 0.25, (0.4 - 0.9) / 0.5
    expected = torch.tensor([2.0, -2.0, -1.0]).reshape(1, 3, 1, 1).expand(2, 3, 2, 3)
    torch.testing.assert_close(normalize(images), expected)


def test_the_defaults_are_the_published_statistics_of_cifar10() -> None:
    assert CIFAR10_MEAN == (0.4914, 0.4822, 0.4465)
    assert CIFAR10_STD == (0.2470, 0.2435, 0.2616)
    assert Normalize().mean.flatten().tolist() == pytest.approx(CIFAR10_MEAN)
    assert Normalize().std.flatten().tolist() == pytest.approx(CIFAR10_STD)


def test_the_numbers_are_saved_with_the_weights_but_never_trained() -> None:
    normalize = Normalize()
    normalize.set_statistics((0.2, 0.3, 0.4), (0.5, 0.6, 0.7))
    assert list(normalize.parameters()) == []
    other = Normalize()
    other.load_state_dict(normalize.state_dict())
    assert other.mean.flatten().tolist() == pytest.approx([0.2, 0.3, 0.4])
    assert other.std.flatten().tolist() == pytest.approx([0.5, 0.6, 0.7])


def test_a_block_without_the_range_check_warns_of_nothing() -> None:
    layer = Normalize().eval()
    with without_range_check(nn.Sequential(layer)):
        layer(torch.full((1, 3, 2, 2), 9.0))
    with pytest.warns(UserWarning, match="images have values from 9 to 9"):
        layer(torch.full((1, 3, 2, 2), 9.0))
