"""Metrics of each class: precision, recall and F1, their means, top-k accuracy and the Brier score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor
from torch.nn import functional as F

from firstlight.arrays import Labels, Logits


@dataclass(frozen=True, eq=False)
class ClassMetrics:
    """Precision, recall and F1 of each class.

    Let C be the confusion matrix with true classes as rows and predicted classes as columns. Then

        precision_c = C[c,c] / sum_t C[t,c]
        recall_c    = C[c,c] / sum_p C[c,p]
        F1_c        = 2 C[c,c] / (sum_t C[t,c] + sum_p C[c,p]),   the harmonic mean of precision and recall

    A quotient with denominator 0 counts as 0.

    Args:
        precision: Share of the images predicted as the class that belong to it, in [0, 1], float64 [k].
        recall: Share of the images of the class that are predicted as it, in [0, 1], float64 [k].
        f1: Harmonic mean of precision and recall, in [0, 1], float64 [k].
        support: Number of images of the class, int64 [k].
        num_predicted: Number of images predicted as the class, int64 [k].
    """

    precision: Float64[Tensor, " k"]
    recall: Float64[Tensor, " k"]
    f1: Float64[Tensor, " k"]
    support: Int64[Tensor, " k"]
    num_predicted: Int64[Tensor, " k"]

    def macro(self) -> dict[str, float]:
        """Return the means of precision, recall and F1 over the classes that occur as label or prediction.

        Every class counts the same. All means are 0 if there are no images.
        """
        return self._means(((self.support + self.num_predicted) > 0).double())

    def weighted(self) -> dict[str, float]:
        """Return the means of precision, recall and F1 over the classes, weighted by their support.

        The weighted recall is the accuracy. All means are 0 if there are no images.
        """
        return self._means(self.support.double())

    def _means(self, weights: Float64[Tensor, " k"]) -> dict[str, float]:
        total = weights.sum().clamp(min=1)
        return {name: float((getattr(self, name) * weights).sum() / total) for name in ("precision", "recall", "f1")}


def class_metrics(confusion: Int64[Tensor, "k k"]) -> ClassMetrics:
    """Return precision, recall and F1 of each class.

    Args:
        confusion: Number of images by true class (row) and predicted class (column), int64 [k k]; see
            `firstlight.evaluation.confusion.confusion`.

    >>> metrics = class_metrics(torch.tensor([[3, 1], [0, 4]]))
    >>> metrics.precision.tolist(), metrics.recall.tolist(), metrics.support.tolist()
    ([1.0, 0.8], [0.75, 1.0], [4, 4])
    >>> metrics.macro()["precision"]
    0.9
    """
    right, support, num_predicted = confusion.diagonal(), confusion.sum(dim=1), confusion.sum(dim=0)
    return ClassMetrics(
        precision=_divide(right, num_predicted),
        recall=_divide(right, support),
        f1=_divide(2 * right, support + num_predicted),
        support=support,
        num_predicted=num_predicted,
    )


def top_k_accuracy(logits: Logits, labels: Labels, ks: Sequence[int]) -> dict[int, float]:
    """Return the share of images whose true class has one of the k largest logits, for several k.

    Among equal logits the class with the smaller index comes first, so that the result for k = 1 is the accuracy.

    Args:
        logits: Logits, float [n k].
        labels: True classes, int64 [n].
        ks: Values of k, each at least 1.

    Returns:
        Accuracy in [0, 1] for each k; NaN if there are no images.

    >>> logits = torch.tensor([[3.0, 2.0, 1.0], [3.0, 2.0, 1.0]])
    >>> top_k_accuracy(logits, torch.tensor([1, 2]), ks=(1, 2))
    {1: 0.0, 2: 0.5}
    """
    true_logits = logits.gather(1, labels[:, None])
    comes_first = torch.arange(logits.shape[1], device=logits.device) < labels[:, None]
    ranks = ((logits > true_logits) | ((logits == true_logits) & comes_first)).sum(dim=1)
    return {k: float((ranks < k).double().mean()) for k in ks}


def brier_score(probabilities: Float[Tensor, "n k"], labels: Labels) -> float:
    """Return the Brier score: the mean squared distance between probabilities and one-hot labels, in [0, 2].

        BS = 1/n sum_i sum_c (p[i,c] - [c = labels[i]])^2

    Small is good. Brier 1950, "Verification of Forecasts Expressed in Terms of Probability", Monthly Weather Review
    78, equation 2.

    Args:
        probabilities: Probability of each class, float [n k].
        labels: True classes, int64 [n].

    Returns:
        The score; NaN if there are no images.

    >>> brier_score(torch.tensor([[0.5, 0.5], [1.0, 0.0]]), torch.tensor([0, 0]))
    0.25
    """
    one_hot = F.one_hot(labels, probabilities.shape[1])
    return float((probabilities.double() - one_hot).square().sum(dim=1).mean())


def _divide(numerator: Int64[Tensor, " k"], denominator: Int64[Tensor, " k"]) -> Float64[Tensor, " k"]:
    return numerator.double() / denominator.clamp(min=1)
