"""fast94: the published speed record's network and loss, sooner.

command   firstlight fit --recipe fast94
source    airbench94 (Jordan 2024, arXiv 2404.00498), with seven epochs instead of eight, but four times as many steps
          in each; half of them on crops of 25 pixels (Touvron et al. 2019, arXiv 1906.06423, trains on smaller images
          than it tests on); from the second epoch on, the three fifths of the images whose loss was largest
          (Raju et al. 2021, arXiv 2111.12621); in each step, backward passes of the half of the images that holds
          four fifths of the gradient (Jiang et al. 2019, arXiv 1910.00762); a third convolution in the last group, as
          airbench96 of the same paper has in all; more views at test only of images of which the model is unsure
          (docs/decisions/0011-fast94-recipe.md)
"""

from __future__ import annotations

from firstlight.augment.progressive import ProgressiveResizing
from firstlight.data.batches import Augmentation
from firstlight.networks.speednet import SpeedNetConfig
from firstlight.recipes.config import MuonConfig, Recipe


def fast94() -> Recipe:
    """The speed record, sooner: small batches, crops at first, the hardest images, their largest gradients."""
    return Recipe(
        name="fast94",
        data="cifar10",
        num_val=0,
        network=SpeedNetConfig(width=64, norm_momentum=0.1, deep_groups=1),
        augmentation=Augmentation(crop_px=2, flip="alternating"),
        resizing=ProgressiveResizing(
            "crop", initial_scale=25 / 32, delay_fraction=0.5, finetune_fraction=0.5, size_increment_px=1
        ),
        hardest_share=0.6,
        gradient_share=0.8,
        optimizer=MuonConfig(
            learning_rate=0.12,
            momentum=0.6,
            head_rate=335.0,
            bias_rate=26.5,
            sgd_momentum=0.85,
            weight_decay=0.001,
            whitening_epochs=3.0,
            frozen_stages=0,
            freeze_at=1.0,
        ),
        label_smoothing=0.2,
        views="flip_star",
        views_margin=0.4,
        max_epochs=7,
        batch_size=500,
    )
