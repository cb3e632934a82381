"""demo: a small network on the embedded data set, in a minute or two on two CPU cores. Needs no download.

command   firstlight demo
accuracy  97.79 ± 0.40 % single view, no test-time augmentation, n=17
minutes   2.7 for the training (one run was timed)
hardware  AMD EPYC, 1 thread
results   benchmarks/results/accuracy.jsonl
source    The rates of Muon follow page24. An earlier version trained nine epochs with Adam and a one-cycle schedule;
          its accuracy depended on the seed (docs/LOG.md, "The demo's optimizer").
"""

from __future__ import annotations

from firstlight.data.augmentation_config import Augmentation
from firstlight.networks.network_config import ResNet9Config
from firstlight.recipes.config import MuonConfig, Recipe


def demo() -> Recipe:
    """A quick look: a small network on embedded drawn shapes, no download."""
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
            whitening_epochs=3.0,  # no effect: ResNet9 has no whitening layer
            frozen_stages=0,
            freeze_at=1.0,
        ),
        max_epochs=6,
        batch_size=128,
    )
