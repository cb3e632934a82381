"""Temperature and novelty threshold from validation images."""

from __future__ import annotations

import pytest
import torch

from firstlight.evaluation.calibration import FALSE_ALARMS, calibrate
from reference.sampled_labels import sampled_labels


def test_the_temperature_is_the_one_that_the_labels_were_drawn_at() -> None:
    logits, labels = sampled_labels(temperature=2.0)
    found = calibrate(logits.float(), labels)
    assert found.temperature == pytest.approx(2.0, rel=0.1)
    assert found.num_images == len(labels)


def test_a_share_of_the_images_is_above_the_threshold() -> None:
    logits, labels = sampled_labels(temperature=1.0)
    energies = -logits.double().exp().sum(dim=1).log()
    above = (energies > calibrate(logits.float(), labels).novelty_threshold).double().mean().item()
    assert above == pytest.approx(FALSE_ALARMS, abs=1 / len(labels))


def test_without_a_mistake_the_temperature_is_one() -> None:
    logits = torch.randn(20, 3, generator=torch.Generator().manual_seed(0))
    assert calibrate(logits, logits.argmax(dim=1)).temperature == 1.0
