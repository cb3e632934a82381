"""adam24: the exercise (a custom ResNet on CIFAR-10) as it was set: Adam, a constant rate, 24 epochs, 45,000 images.

command   firstlight fit --recipe adam24
accuracy  89.93 % single view, no test-time augmentation, n=1
minutes   140.4 for the training, while other programs ran
hardware  AMD EPYC (AVX512-BF16), 2 threads
results   benchmarks/results/accuracy.jsonl
source    the exercise; its network follows David Page, "How to Train Your ResNet" (2018)
"""

from __future__ import annotations

from firstlight.data.augmentation_config import Augmentation
from firstlight.networks.network_config import ResNet9Config
from firstlight.recipes.config import OptimizerConfig, Recipe


def adam24() -> Recipe:
    """The exercise as it was set: Adam, 24 epochs, random crop and flip."""
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
