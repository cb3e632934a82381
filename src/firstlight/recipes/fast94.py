"""fast94: the published speed record's network and loss, trained in three fifths of the time.

command   firstlight fit --recipe fast94
source    airbench94 (Jordan 2024, arXiv 2404.00498), with four times as many steps an epoch, each on a quarter of the
          images; two epochs on images of half the side, then four on whole ones; more views at test only of the
          images of which the model is unsure (docs/decisions/0011-fast94.md)
"""

from __future__ import annotations

from firstlight.data.batches import Augmentation
from firstlight.networks.speednet import SpeedNetConfig
from firstlight.training.recipe import MuonConfig, Recipe
from firstlight.training.resizing import ProgressiveResizing


def fast94() -> Recipe:
    """The speed record's network, sooner: small batches, small images at first, more views only where unsure."""
    return Recipe(
        name="fast94",
        data="cifar10",
        num_val=0,
        network=SpeedNetConfig(width=64, norm_momentum=0.1),
        augmentation=Augmentation(crop_px=2, flip="alternating"),
        resizing=ProgressiveResizing(initial_scale=0.5, delay_fraction=0.33, finetune_fraction=0.67),
        optimizer=MuonConfig(learning_rate=0.12, head_rate=335.0, bias_rate=26.5, weight_decay=0.001),
        label_smoothing=0.2,
        views="flip_shift",
        views_margin=0.5,
        max_epochs=6,
        batch_size=500,
    )
