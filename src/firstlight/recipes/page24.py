"""page24: the exercise's network and epochs with a better training: Muon, cutout, label smoothing, all 50,000 images.

command   firstlight fit --recipe page24
accuracy  94.62 ± 0.09 % single view, 95.28 ± 0.15 % with test-time augmentation, n=3
minutes   85.3 for the training, while other programs ran
hardware  AMD EPYC (AVX512-BF16), 1 thread
results   benchmarks/results/accuracy.jsonl
source    David Page, "How to Train Your ResNet" (2018): the network, 24 epochs, batches of 512, 8x8 cutout, and a head
          with a small learning rate (Page scales the logits instead). Jordan 2024: Muon for the filters (the Muon post
          and airbench94_muon); label smoothing, alternating flip and the six test-time views (arXiv 2404.00498). See
          docs/decisions/0013-muon-for-page24.md.
"""

from __future__ import annotations

from firstlight.data.augmentation_config import Augmentation
from firstlight.networks.network_config import ResNet9Config
from firstlight.recipes.config import MuonConfig, Recipe


def page24() -> Recipe:
    """Highest accuracy: the exercise's network and epochs, with Muon."""
    return Recipe(
        name="page24",
        data="cifar10",
        num_val=0,
        network=ResNet9Config(width=64),
        augmentation=Augmentation(crop_px=4, flip="alternating", cutout_px=8),
        optimizer=MuonConfig(  # all rates fall linearly to zero: training/lr_schedules.py
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
        views="flip_shift",
        max_epochs=24,
        batch_size=512,
    )
