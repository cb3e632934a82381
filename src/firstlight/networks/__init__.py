"""The networks. Each names its stages, takes RGB in [0, 1] and returns logits.

Names are imported on first use, so that recipes load without PyTorch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from firstlight.networks.network_config import CustomNetworkConfig, NetworkConfig, ResNet9Config, SpeedNetConfig
    from firstlight.networks.registry import build_network
    from firstlight.networks.resnet9 import ResNet9
    from firstlight.networks.speednet import SpeedNet
    from firstlight.networks.staged import StagedNetwork

_MODULES = {
    "CustomNetworkConfig": "network_config",
    "NetworkConfig": "network_config",
    "ResNet9": "resnet9",
    "ResNet9Config": "network_config",
    "SpeedNet": "speednet",
    "SpeedNetConfig": "network_config",
    "StagedNetwork": "staged",
    "build_network": "registry",
}

__all__ = [
    "CustomNetworkConfig",
    "NetworkConfig",
    "ResNet9",
    "ResNet9Config",
    "SpeedNet",
    "SpeedNetConfig",
    "StagedNetwork",
    "build_network",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'firstlight.networks' has no attribute {name!r}")
    value = getattr(import_module(f"firstlight.networks.{_MODULES[name]}"), name)
    globals()[name] = value
    return value
