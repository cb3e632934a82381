"""Small networks to explain: one for hand arithmetic, and a ResNet9 with running statistics from data."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from firstlight.networks import ResNet9, ResNet9Config


class TinyNetwork(nn.Module):
    """The red and green channels, pooled, and two classes with the weights (1, -1) and (2, 3)."""

    stages = ("colour",)

    def __init__(self, pool: nn.Module | None = None) -> None:
        super().__init__()
        self.colour = nn.Conv2d(3, 2, kernel_size=1, bias=False)
        self.pool = pool or nn.AdaptiveMaxPool2d(1)
        self.head = nn.Linear(2, 2, bias=False)
        with torch.no_grad():
            self.colour.weight.copy_(torch.eye(3)[:2, :, None, None])
            self.head.weight.copy_(torch.tensor([[1.0, -1.0], [2.0, 3.0]]))

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.pool(self.colour(images)).flatten(1))


@pytest.fixture
def tiny() -> TinyNetwork:
    return TinyNetwork()


@pytest.fixture
def tiny_mean() -> TinyNetwork:
    return TinyNetwork(nn.AdaptiveAvgPool2d(1))


@pytest.fixture
def tiny_image() -> Tensor:
    """Red rises towards the lower right, green towards the upper left."""
    red, green = [[0.1, 0.2], [0.3, 0.4]], [[0.8, 0.6], [0.4, 0.2]]
    return torch.tensor([[red, green, [[0.0, 0.0], [0.0, 0.0]]]])


def trained_alike(network: nn.Module, seed: int = 0) -> nn.Module:
    """Set running statistics from data, and random scales and shifts of both signs."""
    draw = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight, 1.0, 0.5, generator=draw)
            nn.init.normal_(module.bias, 0.0, 0.5, generator=draw)
    network.train()
    with torch.no_grad():
        for _ in range(5):
            network(torch.rand(4, 3, 32, 32, generator=draw))
    return network.eval()


@pytest.fixture
def network() -> ResNet9:
    torch.manual_seed(0)
    return trained_alike(ResNet9(10, ResNet9Config(width=8)))


@pytest.fixture(scope="session")
def full_network() -> ResNet9:
    """A network of full width, which tests must not change."""
    torch.manual_seed(0)
    return trained_alike(ResNet9(10))


@pytest.fixture
def images() -> Tensor:
    return torch.rand(5, 3, 32, 32, generator=torch.Generator().manual_seed(1))
