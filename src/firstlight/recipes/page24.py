"""page24: the exercise's network and its 24 epochs, trained as well as is known: all 50,000 images.

command   firstlight fit --recipe page24
source    David Page, "How to Train Your ResNet" (2018): the network, 24 epochs, batches of 512, 8x8 cutout, a head that
          learns slowly (there by scaling its logits); Muon for the filters after Jordan 2024 (the Muon post, and
          airbench94_muon); label smoothing, alternating flip and the six views of the test after Jordan 2024,
          arXiv 2404.00498 (docs/decisions/0013-muon-for-page24.md)
"""

from __future__ import annotations

from firstlight.data.batches import Augmentation
from firstlight.networks.resnet9 import ResNet9Config
from firstlight.recipes.config import MuonConfig, Recipe


def page24() -> Recipe:
    """The exercise's network at its best: Muon, linear decay, 24 epochs, all 50,000 images."""
    return Recipe(
        name="page24",
        data="cifar10",
        num_val=0,
        network=ResNet9Config(width=64),
        augmentation=Augmentation(crop_px=4, flip="alternating", cutout_px=8),
        optimizer=MuonConfig(
            learning_rate=0.1,
            momentum=0.6,
            head_rate=0.01,
            bias_rate=0.05,
            sgd_momentum=0.85,
            weight_decay=2e-4,
            whitening_epochs=3.0,  # without effect: this network has no whitening layer
            frozen_stages=0,
            freeze_at=1.0,
        ),
        label_smoothing=0.1,
        views="flip_shift",
        max_epochs=24,
        batch_size=512,
    )
