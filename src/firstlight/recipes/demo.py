"""demo: the whole pipeline on the embedded data set, in a minute or two on two CPU cores.

command   firstlight demo
"""

from __future__ import annotations

from firstlight.data.batches import Augmentation
from firstlight.networks.resnet9 import ResNet9Config
from firstlight.recipes.config import OptimizerConfig, Recipe


def demo() -> Recipe:
    """The embedded drawn shapes, a narrow network, one cycle: a minute or two on two CPU cores."""
    return Recipe(
        name="demo",
        data="drawn",
        num_val=1000,
        network=ResNet9Config(width=16),
        augmentation=Augmentation(crop_px=2, flip="random"),
        optimizer=OptimizerConfig(
            name="adam", learning_rate=0.01, head_rate=1.0, schedule="one_cycle", weight_decay=0.0
        ),
        max_epochs=9,
        batch_size=128,
    )
