"""demo: the whole pipeline on the embedded data set, in a minute or two on two CPU cores.

command   firstlight demo
source    Muon's rates follow page24; six epochs replace nine of Adam with one cycle, whose accuracy depended on the seed
          (docs/LOG.md, "The demo's optimizer")
"""

from __future__ import annotations

from firstlight.data.batches import Augmentation
from firstlight.networks.resnet9 import ResNet9Config
from firstlight.recipes.config import MuonConfig, Recipe


def demo() -> Recipe:
    """The embedded drawn shapes, a narrow network, Muon, six epochs: a minute or two on two CPU cores."""
    return Recipe(
        name="demo",
        data="drawn",
        num_val=1000,
        network=ResNet9Config(width=16),
        augmentation=Augmentation(crop_px=2, flip="random"),
        optimizer=MuonConfig(
            learning_rate=0.1,
            momentum=0.6,
            head_rate=0.02,
            bias_rate=0.05,
            sgd_momentum=0.85,
            weight_decay=2e-4,
            whitening_epochs=3.0,  # without effect: this network has no whitening layer
            frozen_stages=0,
            freeze_at=1.0,
        ),
        max_epochs=6,
        batch_size=128,
    )
