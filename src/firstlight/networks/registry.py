"""The registry of networks: builds a network with fresh weights from the configuration in a recipe.

To add a built-in network, add its configuration to `network_config.py` and a branch to `build_network`. A class of your
own needs no change in this module: a recipe names it, and `custom.py` builds it.
"""

from __future__ import annotations

from collections.abc import Sequence

from firstlight.layers.normalize import CIFAR10_MEAN, CIFAR10_STD
from firstlight.networks.custom import build_custom_network
from firstlight.networks.network_config import CustomNetworkConfig, NetworkConfig, SpeedNetConfig
from firstlight.networks.resnet9 import ResNet9
from firstlight.networks.speednet import SpeedNet
from firstlight.networks.staged import StagedNetwork


def build_network(
    num_classes: int,
    config: NetworkConfig,
    mean: Sequence[float] = CIFAR10_MEAN,
    std: Sequence[float] = CIFAR10_STD,
) -> StagedNetwork:
    """Build a network with fresh weights.

    Imports no code: the module of a class outside firstlight must already be imported.

    Args:
        num_classes: Number of logits.
        config: Which network to build, and its options.
        mean: Mean of the training images in [0, 1], one value per colour channel.
        std: Standard deviation of the training images in [0, 1], one value per colour channel.

    Raises:
        UsageError: A class outside firstlight is not imported, or cannot be used.

    >>> type(build_network(10, SpeedNetConfig(width=4))).__name__
    'SpeedNet'
    """
    if isinstance(config, CustomNetworkConfig):
        return build_custom_network(num_classes, config, mean, std)
    if isinstance(config, SpeedNetConfig):
        return SpeedNet(num_classes, config, mean, std)
    return ResNet9(num_classes, config, mean, std)
