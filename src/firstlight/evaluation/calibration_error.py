"""Calibration: how far the predicted probabilities differ from the accuracy."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64, Int64

from firstlight.arrays import Labels

NUM_BINS = 15


def calibration_error(probabilities: Float[torch.Tensor, "n k"], labels: Labels, num_bins: int = NUM_BINS) -> float:
    """Return the expected calibration error: the mean gap between confidence and accuracy, in [0, 1].

        ECE = sum_b n_b / n |accuracy_b - confidence_b|

    where the bins b divide the range of the predicted class's probability into equal widths. Guo et al.
    2017, arXiv 1706.04599, equation 3.

    Args:
        probabilities: Probability of each class, float [n k].
        labels: True classes, int64 [n].
        num_bins: Number of bins.

    >>> probabilities = torch.tensor([[0.9, 0.1]] * 10)
    >>> round(calibration_error(probabilities, torch.tensor([0] * 7 + [1] * 3)), 4)  # confidence 0.9, accuracy 0.7
    0.2
    """
    bins = reliability(probabilities, labels, num_bins)
    gaps = (bins.accuracy - bins.confidence).abs() * bins.counts
    return float(gaps.nansum() / len(labels))


@dataclass(frozen=True, eq=False)
class Reliability:
    """Accuracy and mean confidence of the images in bins of confidence.

    Bin b holds the images whose predicted class has a probability in (b / B, (b + 1) / B], for B bins.

    Args:
        accuracy: Share of correctly classified images in each bin, float64 [B]; NaN in an empty bin.
        confidence: Mean probability of the predicted class in each bin, float64 [B]; NaN in an empty bin.
        counts: Number of images in each bin, int64 [B].
    """

    accuracy: Float64[torch.Tensor, " bins"]
    confidence: Float64[torch.Tensor, " bins"]
    counts: Int64[torch.Tensor, " bins"]


def reliability(probabilities: Float[torch.Tensor, "n k"], labels: Labels, num_bins: int = NUM_BINS) -> Reliability:
    """Return accuracy and confidence in bins of equal width, as a reliability diagram shows them.

    Guo et al. 2017, arXiv 1706.04599, equations 1 and 2.

    Args:
        probabilities: Probability of each class, float [n k].
        labels: True classes, int64 [n].
        num_bins: Number of bins.

    >>> bins = reliability(torch.tensor([[0.75, 0.25], [0.25, 0.75]]), torch.tensor([0, 0]), num_bins=2)
    >>> bins.accuracy.tolist(), bins.confidence.tolist(), bins.counts.tolist()
    ([nan, 0.5], [nan, 0.75], [0, 2])
    """
    confidence, predicted = probabilities.double().max(dim=1)
    indices = (confidence * num_bins).ceil().long().clamp(1, num_bins) - 1
    sums = torch.zeros(2, num_bins, dtype=torch.float64)
    sums.index_add_(1, indices, torch.stack([(predicted == labels).double(), confidence]))
    counts = torch.bincount(indices, minlength=num_bins)
    return Reliability(sums[0] / counts, sums[1] / counts, counts)
