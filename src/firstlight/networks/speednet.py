"""SpeedNet: the small convolutional network of the CIFAR-10 speed records, after Jordan's airbench.

| stage | layers | output at 32x32 input and width 64 |
|---|---|---|
| whiten | patch whitening 2x2, frozen; GELU | 24x31x31 |
| group1 | conv 24->64, pool 2, BN, GELU; conv 64->64, BN, GELU | 64x15x15 |
| group2 | conv 64->256, pool 2, BN, GELU; conv 256->256, BN, GELU | 256x7x7 |
| group3 | conv 256->256, pool 2, BN, GELU; conv 256->256, BN, GELU | 256x3x3 |
| pool, head | max-pool over the whole map, linear, scaled | 10 |

With `pad_patches` the maps are 32x32, 16x16, 8x8 and 4x4. A deep group has a third convolution and a shortcut:

| stage | layers |
|---|---|
| deep group3 | conv 256->256, pool 2, BN, GELU; (conv 256->256, BN, GELU) x 2, added to its input |
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import nn

from firstlight.arrays import Images
from firstlight.layers.batch_norm import BatchNorm
from firstlight.layers.conv3x3 import Conv3x3
from firstlight.layers.gelu import Gelu
from firstlight.layers.max_pool import MaxPool2x2
from firstlight.layers.normalize import CIFAR10_MEAN, CIFAR10_STD, Normalize
from firstlight.layers.residual import Residual
from firstlight.layers.whitening import PatchWhitening
from firstlight.networks.network_config import NUM_GROUPS, SpeedNetConfig
from firstlight.networks.staged import StagedNetwork

__all__ = ["SpeedNet", "SpeedNetConfig", "conv_group"]

WHITENING_PX = 2
NORM_EPSILON = 1e-12


class SpeedNet(StagedNetwork):
    """The network of the speed records. Takes RGB in [0, 1], float [n 3 h w], and returns logits, float [n k].

    Convolutions are initialized as the identity on their first input channels (`torch.nn.init.dirac_`), so that the
    input reaches every layer from the first step. Batch norm shifts but does not scale. The features are scaled down
    before the head. (Jordan 2024, "94% on CIFAR-10 in 3.29 Seconds on a Single GPU", arXiv 2404.00498, section 3 and
    appendix A.)

    Call `init_from_data` with training images before the first step.

    Args:
        num_classes: Number of logits.
        config: Number of channels, depth, and scale of the features.
        mean: Mean of the training images in [0, 1], one value per colour channel.
        std: Standard deviation of the training images in [0, 1], one value per colour channel.

    >>> network = SpeedNet(num_classes=10)
    >>> network(torch.rand(2, 3, 32, 32)).shape
    torch.Size([2, 10])
    """

    stages = ("whiten", "group1", "group2", "group3")

    def __init__(
        self,
        num_classes: int,
        config: SpeedNetConfig = SpeedNetConfig(),
        mean: Sequence[float] = CIFAR10_MEAN,
        std: Sequence[float] = CIFAR10_STD,
    ) -> None:
        super().__init__()
        width = config.width
        self.normalize = Normalize(mean, std)
        whitening = PatchWhitening(3, WHITENING_PX, config.patch_directions)
        self.whiten = nn.Sequential()
        if config.pad_patches:
            self.whiten.add_module("pad", nn.ZeroPad2d((0, WHITENING_PX - 1, 0, WHITENING_PX - 1)))
        self.whiten.add_module("conv", whitening)
        self.whiten.add_module("activation", Gelu())
        momentum, deep_from = config.norm_momentum, NUM_GROUPS - config.deep_groups + 1
        self.group1 = conv_group(whitening.out_channels, width, momentum, is_deep=deep_from <= 1)
        self.group2 = conv_group(width, 4 * width, momentum, is_deep=deep_from <= 2)
        self.group3 = conv_group(4 * width, 4 * width, momentum, is_deep=deep_from <= 3)
        self.pool = nn.AdaptiveMaxPool2d(1)
        self.head = nn.Linear(4 * width, num_classes, bias=False)
        self.head_scale = config.head_scale
        with torch.no_grad():
            self.head.weight.div_(self.head.weight.std())

    def init_from_data(self, images: Images) -> None:
        """Compute the whitening filters from training images, uint8 [n 3 h w]; a few thousand are enough."""
        cast(PatchWhitening, self.whiten.get_submodule("conv")).init_from_data(self.normalize(images.float() / 255))


def conv_group(channels_in: int, channels_out: int, norm_momentum: float, *, is_deep: bool = False) -> nn.Sequential:
    """Build a group: two 3x3 convolutions, each with batch norm and GELU, and a 2x2 max-pool after the first.

    A deep group has three convolutions, and the output of the first layer is added to that of the third. (The shortcut
    follows airbench96 of Jordan 2024, arXiv 2404.00498, where all groups are deep and the sum is taken before the last
    activation.)
    """
    group = nn.Sequential()
    _add_layer(group, 1, channels_in, channels_out, norm_momentum)
    if is_deep:
        branch = nn.Sequential()
        for number in (2, 3):
            _add_layer(branch, number, channels_out, channels_out, norm_momentum)
        group.add_module("residual", Residual(branch))
    else:
        _add_layer(group, 2, channels_out, channels_out, norm_momentum)
    return group


def _add_layer(to: nn.Sequential, number: int, channels_in: int, channels_out: int, norm_momentum: float) -> None:
    conv = Conv3x3(channels_in, channels_out)
    nn.init.dirac_(conv.weight[: min(channels_in, channels_out)].data)
    norm = BatchNorm(channels_out, eps=NORM_EPSILON, momentum=norm_momentum)
    norm.weight.requires_grad = False
    to.add_module(f"conv{number}", conv)
    if number == 1:
        to.add_module("pool", MaxPool2x2())
    to.add_module(f"norm{number}", norm)
    to.add_module(f"activation{number}", Gelu())
