"""Calibration error: how far the predicted probabilities differ from the accuracy."""

from __future__ import annotations

import torch
from jaxtyping import Float

from firstlight.arrays import Labels

NUM_BINS = 15


def calibration_error(probabilities: Float[torch.Tensor, "n k"], labels: Labels, num_bins: int = NUM_BINS) -> float:
    """Return the expected calibration error: the mean gap between confidence and accuracy, in [0, 1].

        ECE = sum_b n_b / n |accuracy_b - confidence_b|

    over bins b of equal width of the predicted class's probability. Guo et al. 2017, arXiv 1706.04599, equation 3.

    Args:
        probabilities: Probability of each class, float [n k].
        labels: True classes, int64 [n].
        num_bins: Number of bins.

    >>> probabilities = torch.tensor([[0.9, 0.1]] * 10)
    >>> round(calibration_error(probabilities, torch.tensor([0] * 7 + [1] * 3)), 4)  # confidence 0.9, accuracy 0.7
    0.2
    """
    confidence, predicted = probabilities.double().max(dim=1)
    right = (predicted == labels).double()
    bins = (confidence * num_bins).ceil().long().clamp(1, num_bins) - 1
    gaps = torch.zeros(num_bins, dtype=torch.float64).index_add_(0, bins, right - confidence)
    return float(gaps.abs().sum() / len(labels))
