"""small: 10 to 500 images of each class, as in a folder of your own; a small network for many epochs.

command   firstlight fit --recipe small
accuracy  not published for a whole data set; docs/data.md ("Few images") has it for a few images of each class
results   benchmarks/results/few_images.jsonl
source    page24 (Muon, crops, alternating flip, cutout, label smoothing) with TrivialAugment (Müller and Hutter 2021,
          arXiv 2103.10158), a network of a quarter of its width, 60 epochs instead of 24, and batches of 32 images.
"""

from __future__ import annotations

from firstlight.data.augmentation_config import Augmentation
from firstlight.networks.network_config import ResNet9Config
from firstlight.recipes.config import MuonConfig, Recipe


def small() -> Recipe:
    """Few images: 10 to 500 of each class, in a folder of your own."""
    return Recipe(
        name="small",
        data="cifar10",
        num_val=5000,  # of a folder with fewer than 15,000 images, a tenth is held out instead
        network=ResNet9Config(width=16),
        augmentation=Augmentation(crop_px=4, flip="alternating", cutout_px=8, trivial_augment=True),
        optimizer=MuonConfig(
            learning_rate=0.1,
            momentum=0.6,
            head_rate=0.01,
            bias_rate=0.05,
            sgd_momentum=0.85,
            weight_decay=2e-4,
            whitening_epochs=3.0,  # no effect: ResNet9 has no whitening layer
            frozen_stages=0,
            freeze_at=1.0,
        ),
        label_smoothing=0.1,
        views="flip",
        max_epochs=60,
        batch_size=32,
    )
