"""Calibration: probabilities that mean what they say."""

from __future__ import annotations

import torch
from jaxtyping import Float

from firstlight.arrays import Labels, Logits

NUM_BINS = 15
_SHARPEST, _FLATTEST = 1e-2, 1e2  # temperatures between which the best one is looked for
_NUM_HALVINGS = 60  # of that range's logarithm: far below float64's rounding


def fit_temperature(logits: Logits, labels: Labels) -> float:
    """Return the temperature T > 0 that makes the labels most probable under `softmax(logits / T)`.

    The negative log-likelihood is convex in b = 1 / T, and its slope is known:

        d/db = mean_n( sum_k p[n, k] z[n, k] - z[n, labels[n]] ),    p = softmax(b z)

    so the zero of the slope is found by bisection. Guo et al. 2017, arXiv 1706.04599, section 4.2: one number for
    all classes, fitted on images that were not trained on; the predicted classes stay as they are.

    Args:
        logits: z, float [n k], of validation images.
        labels: true classes, int64 [n].

    Returns:
        T, between 0.01 and 100.

    Raises:
        ValueError: there are no images.

    >>> z = torch.tensor([[2.0, 0.0]] * 4)
    >>> round(fit_temperature(z, torch.tensor([0, 0, 0, 1])), 4)  # right three times in four: 2 / T = log(3)
    1.8205
    """
    if not len(labels):
        raise ValueError("a temperature cannot be fitted on no images")
    z = logits.double()
    truth = z.gather(1, labels[:, None])[:, 0]
    low, high = torch.tensor([1 / _FLATTEST, 1 / _SHARPEST], dtype=torch.float64).log()
    for _ in range(_NUM_HALVINGS):
        middle = (low + high) / 2
        expected = ((z * middle.exp()).softmax(dim=1) * z).sum(dim=1)
        if float((expected - truth).mean()) < 0:  # sharper is still more probable
            low = middle
        else:
            high = middle
    return float(1 / ((low + high) / 2).exp())


def calibration_error(probabilities: Float[torch.Tensor, "n k"], labels: Labels, num_bins: int = NUM_BINS) -> float:
    """Return the expected calibration error: by how much confidence and accuracy differ, in [0, 1].

        ECE = sum_b n_b / n |accuracy_b - confidence_b|

    over bins b of equal width by the probability of the predicted class (Guo et al. 2017, arXiv 1706.04599,
    equation 3).

    Args:
        probabilities: of each class, float [n k].
        labels: true classes, int64 [n].
        num_bins: how many bins.

    >>> sure = torch.tensor([[0.9, 0.1]] * 10)
    >>> round(calibration_error(sure, torch.tensor([0] * 7 + [1] * 3)), 4)  # says 0.9, is right 7 times in 10
    0.2
    """
    confidence, predicted = probabilities.double().max(dim=1)
    right = (predicted == labels).double()
    bins = (confidence * num_bins).ceil().long().clamp(1, num_bins) - 1
    gaps = torch.zeros(num_bins, dtype=torch.float64).index_add_(0, bins, right - confidence)
    return float(gaps.abs().sum() / len(labels))
