"""page24: the exercise's network and its 24 epochs, trained as well as is known: all 50,000 images.

command   firstlight fit --recipe page24
source    David Page, "How to Train Your ResNet" (2018): SGD with Nesterov momentum, the peak rate of 0.4 at a
          batch of 512, weight decay 5e-4, 8x8 cutout, a head that learns slowly (there by scaling its logits);
          label smoothing, alternating flip and the six views of the test after Jordan 2024, arXiv 2404.00498
"""

from __future__ import annotations

from firstlight.data.batches import Augmentation
from firstlight.networks.resnet9 import ResNet9Config
from firstlight.training.recipe import OptimizerConfig, Recipe


def page24() -> Recipe:
    """The exercise's network at its best: SGD, one cycle, 24 epochs, all 50,000 images."""
    return Recipe(
        name="page24",
        data="cifar10",
        num_val=0,
        network=ResNet9Config(width=64),
        augmentation=Augmentation(crop_px=4, flip="alternating", cutout_px=8),
        optimizer=OptimizerConfig(
            name="sgd",
            learning_rate=0.4,
            head_rate=1 / 16,
            schedule="one_cycle",
            momentum=0.9,
            weight_decay=5e-4,
        ),
        averaging=0.99,
        label_smoothing=0.1,
        views="flip_shift",
        max_epochs=24,
        batch_size=512,
    )
