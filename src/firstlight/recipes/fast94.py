"""fast94: 94 % sooner than the published speed record's recipe, on the same network.

command   firstlight fit --recipe fast94
source    airbench94 (Jordan 2024, arXiv 2404.00498) with small batches and small images at first; what each
          change is worth is measured by benchmarks/ingredients.py
"""

from __future__ import annotations

from firstlight.data.batches import Augmentation
from firstlight.networks.speednet import SpeedNetConfig
from firstlight.training.recipe import MuonConfig, Recipe
from firstlight.training.resizing import ProgressiveResizing


def fast94() -> Recipe:
    """The speed record's network, faster: small batches, images that grow, views only where the model is unsure."""
    return Recipe(
        name="fast94",
        data="cifar10",
        num_val=0,
        network=SpeedNetConfig(width=64),
        augmentation=Augmentation(crop_px=2, flip="alternating"),
        resizing=ProgressiveResizing(initial_scale=0.5, delay_fraction=0.4, finetune_fraction=0.3, size_increment_px=8),
        optimizer=MuonConfig(learning_rate=0.12, head_rate=335.0, bias_rate=26.5, weight_decay=0.001),
        label_smoothing=0.2,
        views="flip_shift",
        views_margin=0.5,
        max_epochs=7,
        batch_size=500,
    )
