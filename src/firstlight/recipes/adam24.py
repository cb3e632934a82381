"""adam24: the exercise, verbatim. Adam at a constant 0.001, crop and flip, 24 epochs, 45,000 images to train on.

command   firstlight fit --recipe adam24
source    the exercise; the network after David Page, "How to Train Your ResNet" (2018)
"""

from __future__ import annotations

from firstlight.data.batches import Augmentation
from firstlight.networks.resnet9 import ResNet9Config
from firstlight.recipes.config import OptimizerConfig, Recipe


def adam24() -> Recipe:
    """The exercise, verbatim: Adam 0.001, 24 epochs, random crop and flip."""
    return Recipe(
        name="adam24",
        data="cifar10",
        num_val=5000,
        network=ResNet9Config(width=64),
        augmentation=Augmentation(crop_px=4, flip="random"),
        optimizer=OptimizerConfig(
            name="adam", learning_rate=0.001, head_rate=1.0, schedule="constant", weight_decay=0.0
        ),
        max_epochs=24,
        batch_size=512,
    )
