"""Calibration: the temperature and the novelty threshold, fitted on validation images."""

from __future__ import annotations

from dataclasses import dataclass

from firstlight.arrays import Labels, Logits
from firstlight.evaluation.novelty import energy, fit_threshold
from firstlight.evaluation.temperature import fit_temperature

FALSE_ALARMS = 0.05  # probability that an image like the training data exceeds the novelty threshold


@dataclass(frozen=True)
class Calibration:
    """The temperature and the novelty threshold of a network, fitted on validation images.

    Args:
        temperature: Number by which the logits are divided before the softmax.
        novelty_threshold: Energy above which an image is unlike the training data; see `energy`.
        num_images: Number of validation images.
    """

    temperature: float
    novelty_threshold: float
    num_images: int


def calibrate(logits: Logits, labels: Labels) -> Calibration:
    """Fit the temperature and the novelty threshold.

    If no image is misclassified, the temperature is 1, because the likelihood then has no maximum.

    Args:
        logits: Logits of validation images, float [n k].
        labels: True classes, int64 [n].

    Raises:
        ValueError: There are no images.

    >>> import torch
    >>> calibrate(torch.tensor([[2.0, 0.0]] * 4), torch.tensor([0, 0, 0, 0])).temperature
    1.0
    """
    is_perfect = bool(len(labels)) and bool((logits.argmax(dim=1) == labels).all())
    temperature = 1.0 if is_perfect else fit_temperature(logits, labels)
    return Calibration(temperature, fit_threshold(energy(logits), FALSE_ALARMS), len(labels))
