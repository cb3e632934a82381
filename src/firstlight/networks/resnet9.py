"""ResNet9: the network of the exercise, after David Page's DAWNBench entry.

| stage | layers | output at 32x32 input and width 64 |
|---|---|---|
| prep | conv 3->64, ReLU, BN | 64x32x32 |
| layer1 | conv 64->128, pool 2, ReLU, BN | 128x16x16 |
| residual1 | (conv 128->128, ReLU, BN) x 2, added to its input | 128x16x16 |
| layer2 | conv 128->256, pool 2, ReLU, BN | 256x8x8 |
| layer3 | conv 256->512, pool 2, ReLU, BN | 512x4x4 |
| residual3 | (conv 512->512, ReLU, BN) x 2, added to its input | 512x4x4 |
| pool, head | max-pool over the whole map, linear | 10 |
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from firstlight.layers.batch_norm import BatchNorm
from firstlight.layers.conv3x3 import Conv3x3
from firstlight.layers.max_pool import MaxPool2x2
from firstlight.layers.normalize import CIFAR10_MEAN, CIFAR10_STD, Normalize
from firstlight.layers.residual import Residual
from firstlight.networks.network_config import ResNet9Config
from firstlight.networks.staged import StagedNetwork

__all__ = ["ResNet9", "ResNet9Config", "conv_block", "residual_block"]


def conv_block(channels_in: int, channels_out: int, *, pool: bool = False) -> nn.Sequential:
    """Build a 3x3 convolution, a 2x2 max-pool if `pool`, a ReLU and a batch norm, in this order."""
    block = nn.Sequential()
    block.add_module("conv", Conv3x3(channels_in, channels_out))
    if pool:
        block.add_module("pool", MaxPool2x2())
    block.add_module("relu", nn.ReLU())
    block.add_module("norm", BatchNorm(channels_out))
    return block


def residual_block(channels: int) -> Residual:
    """Build a residual block: two convolution blocks whose output is added to their input."""
    return Residual(nn.Sequential(conv_block(channels, channels), conv_block(channels, channels)))


class ResNet9(StagedNetwork):
    """The network of the exercise. Takes RGB in [0, 1], float [n 3 h w], and returns logits, float [n k].

    With the default configuration and ten classes it has 6,573,120 parameters and takes 379,261,952
    multiply-accumulates for one 32x32 image. Images may have any size from 8x8 pixels, because the last map is pooled
    to 1x1.

    Args:
        num_classes: Number of logits.
        config: Number of channels.
        mean: Mean of the training images in [0, 1], one value per colour channel.
        std: Standard deviation of the training images in [0, 1], one value per colour channel.

    >>> import torch
    >>> network = ResNet9(num_classes=10)
    >>> sum(p.numel() for p in network.parameters())
    6573120
    >>> network(torch.rand(2, 3, 32, 32)).shape
    torch.Size([2, 10])
    """

    stages = ("prep", "layer1", "residual1", "layer2", "layer3", "residual3")

    def __init__(
        self,
        num_classes: int,
        config: ResNet9Config = ResNet9Config(),
        mean: Sequence[float] = CIFAR10_MEAN,
        std: Sequence[float] = CIFAR10_STD,
    ) -> None:
        super().__init__()
        width = config.width
        self.normalize = Normalize(mean, std)
        self.prep = conv_block(3, width)
        self.layer1 = conv_block(width, 2 * width, pool=True)
        self.residual1 = residual_block(2 * width)
        self.layer2 = conv_block(2 * width, 4 * width, pool=True)
        self.layer3 = conv_block(4 * width, 8 * width, pool=True)
        self.residual3 = residual_block(8 * width)
        self.pool = nn.AdaptiveMaxPool2d(1)
        self.head = nn.Linear(8 * width, num_classes, bias=False)
