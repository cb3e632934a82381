"""From a configuration to its network."""

from __future__ import annotations

from collections.abc import Sequence

from firstlight.layers.normalize import CIFAR10_MEAN, CIFAR10_STD
from firstlight.networks.resnet9 import ResNet9, ResNet9Config
from firstlight.networks.speednet import SpeedNet, SpeedNetConfig
from firstlight.networks.staged import StagedNetwork

NetworkConfig = ResNet9Config | SpeedNetConfig


def build_network(
    num_classes: int,
    config: NetworkConfig,
    mean: Sequence[float] = CIFAR10_MEAN,
    std: Sequence[float] = CIFAR10_STD,
) -> StagedNetwork:
    """Return a network with fresh weights.

    Args:
        num_classes: number of logits.
        config: which network, and its shape.
        mean: of the training images in [0, 1], one for each colour channel.
        std: likewise.

    >>> type(build_network(10, SpeedNetConfig(width=4))).__name__
    'SpeedNet'
    """
    if isinstance(config, SpeedNetConfig):
        return SpeedNet(num_classes, config, mean, std)
    return ResNet9(num_classes, config, mean, std)
