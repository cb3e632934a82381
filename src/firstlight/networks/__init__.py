"""The networks. Each names its stages, takes RGB in [0, 1] and returns logits."""

from firstlight.networks.registry import NetworkConfig, build_network
from firstlight.networks.resnet9 import ResNet9, ResNet9Config
from firstlight.networks.speednet import SpeedNet, SpeedNetConfig
from firstlight.networks.staged import StagedNetwork

__all__ = [
    "NetworkConfig",
    "ResNet9",
    "ResNet9Config",
    "SpeedNet",
    "SpeedNetConfig",
    "StagedNetwork",
    "build_network",
]
