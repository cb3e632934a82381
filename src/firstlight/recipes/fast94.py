"""fast94: the published speed record's network and loss, sooner.

command   firstlight fit --recipe fast94
source    airbench94 (Jordan 2024, arXiv 2404.00498), with six epochs instead of eight, but four times as many steps in
          each; the first stages freeze (Brock et al. 2017, arXiv 1706.04983); the whitening bias learns for 0.2 epochs
          (Hiverge's cifar10-speedrun); more views at test only of images of which the model is unsure
          (docs/decisions/0011-fast94.md)
"""

from __future__ import annotations

from firstlight.data.batches import Augmentation
from firstlight.networks.speednet import SpeedNetConfig
from firstlight.training.recipe import MuonConfig, Recipe


def fast94() -> Recipe:
    """The speed record's network, sooner: 6 epochs of small batches, first stages that freeze, views where unsure."""
    return Recipe(
        name="fast94",
        data="cifar10",
        num_val=0,
        network=SpeedNetConfig(width=64, norm_momentum=0.1),
        augmentation=Augmentation(crop_px=2, flip="alternating"),
        optimizer=MuonConfig(
            learning_rate=0.12,
            head_rate=335.0,
            bias_rate=26.5,
            weight_decay=0.001,
            whitening_epochs=0.2,
            frozen_stages=2,
            freeze_at=0.6,
        ),
        label_smoothing=0.2,
        views="flip_shift",
        views_margin=0.5,
        max_epochs=6,
        batch_size=500,
    )
