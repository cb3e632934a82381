"""The networks. Each names its stages, takes RGB in [0, 1] and returns logits."""

from firstlight.networks.build import NetworkConfig, build_network
from firstlight.networks.normalize import CIFAR10_MEAN, CIFAR10_STD, Normalize
from firstlight.networks.residual import Residual
from firstlight.networks.resnet9 import ResNet9, ResNet9Config
from firstlight.networks.speednet import SpeedNet, SpeedNetConfig
from firstlight.networks.staged import StagedNetwork

__all__ = [
    "CIFAR10_MEAN",
    "CIFAR10_STD",
    "NetworkConfig",
    "Normalize",
    "ResNet9",
    "ResNet9Config",
    "Residual",
    "SpeedNet",
    "SpeedNetConfig",
    "StagedNetwork",
    "build_network",
]
