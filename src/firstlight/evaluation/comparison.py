"""Paired comparison of predictions for the same images: differences, McNemar's test, agreement."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float64, Int64

from firstlight.evaluation.calibration_error import NUM_BINS
from firstlight.evaluation.predictions import Predictions

Metric = Literal["accuracy", "nll", "ece"]
METRICS: tuple[Metric, ...] = ("accuracy", "nll", "ece")
NUM_REPLICATES = 2000
SEED = 0
_CHUNK = 100  # replicates computed at a time; for 10,000 images their counts take 8 MB


@dataclass(frozen=True, eq=False)
class ImageScores:
    """Scores of each image, from which the metrics of one run are computed.

    Args:
        right: 1 for a correctly classified image, else 0, float64 [n].
        nll: Negative log-likelihood of the true class, in nats, float64 [n].
        confidence: Probability of the predicted class, float64 [n].
        bins: Bin of the confidence, int64 [n].
        predicted: Predicted class, int64 [n].
    """

    right: Float64[np.ndarray, " n"]
    nll: Float64[np.ndarray, " n"]
    confidence: Float64[np.ndarray, " n"]
    bins: Int64[np.ndarray, " n"]
    predicted: Int64[np.ndarray, " n"]

    def value(self, metric: Metric) -> float:
        """Return a metric over all images."""
        return float(_values(self, np.ones((1, len(self.right))), metric)[0])


def image_scores(predictions: Predictions, temperature: float = 1.0) -> ImageScores:
    """Return the scores of each image.

    Args:
        predictions: Predictions for at least one image.
        temperature: Temperature by which the logits are divided; it does not change the predicted classes.
    """
    log_probabilities = (predictions.logits.double() / temperature).log_softmax(dim=1)
    confidence = log_probabilities.amax(dim=1).exp()
    nll = -log_probabilities.gather(1, predictions.labels[:, None]).squeeze(1)
    bins = (confidence * NUM_BINS).ceil().long().clamp(1, NUM_BINS) - 1
    right = (predictions.predicted == predictions.labels).double()
    return ImageScores(*(each.numpy() for each in (right, nll, confidence, bins, predictions.predicted)))


@dataclass(frozen=True)
class Difference:
    """A paired difference: the second metric minus the first.

    Args:
        value: Difference on the images.
        interval: Its 95 % bootstrap interval.
    """

    value: float
    interval: tuple[float, float]

    @property
    def is_clear(self) -> bool:
        """Whether the interval excludes 0."""
        return self.interval[0] > 0 or self.interval[1] < 0


def paired_differences(
    first: Sequence[ImageScores], second: Sequence[ImageScores], num_replicates: int = NUM_REPLICATES, seed: int = SEED
) -> dict[Metric, Difference]:
    """Return the differences in accuracy, negative log-likelihood and ECE, with bootstrap intervals.

    Each replicate draws n of the n images with replacement and evaluates all runs on them. The interval extends from
    the 2.5 % to the 97.5 % quantile of the differences (Efron and Tibshirani 1993, "An Introduction to the
    Bootstrap", chapter 13). It accounts for the choice of the test images only; for the variation between seeds use
    `firstlight.evaluation.student_t.welch_test`. The ECE of a replicate is larger than that of the images,
    by about the same amount for both runs.

    Args:
        first: Scores of one run, or of several seeds, whose metrics are averaged.
        second: Scores of the other run or seeds, for the same images.
        num_replicates: Number of replicates.
        seed: Seed of the draws; the same seed gives the same intervals.
    """
    num_images = len(first[0].right)
    draw = np.random.default_rng(seed)
    found: dict[Metric, list[np.ndarray]] = {metric: [] for metric in METRICS}
    for start in range(0, num_replicates, _CHUNK):
        counts = _draw_counts(draw, min(_CHUNK, num_replicates - start), num_images)
        for metric in METRICS:
            found[metric].append(_mean_value(second, counts, metric) - _mean_value(first, counts, metric))
    every_image = np.ones((1, num_images))
    differences = {}
    for metric in METRICS:
        value = float((_mean_value(second, every_image, metric) - _mean_value(first, every_image, metric))[0])
        low, high = np.quantile(np.concatenate(found[metric]), (0.025, 0.975))
        differences[metric] = Difference(value, (float(low), float(high)))
    return differences


def _draw_counts(draw: np.random.Generator, num_replicates: int, num_images: int) -> Float64[np.ndarray, "b n"]:
    """Return how often each replicate draws each image."""
    drawn = draw.integers(0, num_images, (num_replicates, num_images))
    drawn += np.arange(num_replicates)[:, None] * num_images
    counts = np.bincount(drawn.ravel(), minlength=num_replicates * num_images)
    return counts.reshape(num_replicates, num_images).astype(np.float64)


def _mean_value(runs: Sequence[ImageScores], counts: Float64[np.ndarray, "b n"], metric: Metric) -> np.ndarray:
    return np.mean([_values(run, counts, metric) for run in runs], axis=0)


def _values(run: ImageScores, counts: Float64[np.ndarray, "b n"], metric: Metric) -> Float64[np.ndarray, " b"]:
    """Return a metric of each replicate."""
    num_images = len(run.right)
    if metric == "accuracy":
        return counts @ run.right / num_images
    if metric == "nll":
        return counts @ run.nll / num_images
    gaps = np.zeros((num_images, NUM_BINS))
    gaps[np.arange(num_images), run.bins] = run.right - run.confidence
    return np.abs(counts @ gaps).sum(axis=1) / num_images


@dataclass(frozen=True)
class McNemar:
    """McNemar's exact test of two runs.

    Args:
        first_only: Number of images that only the first run classifies correctly.
        second_only: Number of images that only the second run classifies correctly.
        p_value: Two-sided p-value of equal accuracy.
    """

    first_only: int
    second_only: int
    p_value: float


def mcnemar_test(first: ImageScores, second: ImageScores) -> McNemar:
    """Test whether two runs have the same accuracy, from the images that one gets right and the other wrong.

        p = min(1, 2 P(X <= min(b, c))),    X ~ Binomial(b + c, 1/2)

    McNemar 1947, "Note on the Sampling Error of the Difference Between Correlated Proportions or Percentages",
    Psychometrika 12; the exact form.

    Args:
        first: Scores of the first run.
        second: Scores of the second run, for the same images.
    """
    first_only = int(((first.right == 1) & (second.right == 0)).sum())
    second_only = int(((first.right == 0) & (second.right == 1)).sum())
    return McNemar(first_only, second_only, exact_sign_p_value(first_only, second_only))


def exact_sign_p_value(first: int, second: int) -> float:
    """Return the two-sided p-value of the sign test, whose null hypothesis is that both events are equally likely.

    >>> exact_sign_p_value(1, 5)  # 2 (1 + 6) / 2^6
    0.21875
    """
    total, term, tail = first + second, 1, 0
    for k in range(min(first, second) + 1):
        tail += term
        term = term * (total - k) // (k + 1)
    return min(1.0, 2 * tail / 2**total)


def paired_z_p_value(first: Sequence[ImageScores], second: Sequence[ImageScores]) -> float:
    """Return the two-sided p-value of equal mean accuracy of two groups of runs, by a z-test over the images.

    Each image counts with the share of the second group's runs that classify it correctly, minus that share of the
    first group. Unlike McNemar's test, this test allows several runs in a group; it needs at least two images.
    """
    difference = np.mean([run.right for run in second], axis=0) - np.mean([run.right for run in first], axis=0)
    deviation = float(difference.std(ddof=1)) if len(difference) > 1 else 0.0
    mean = float(difference.mean())
    if deviation == 0:
        return 1.0
    return math.erfc(abs(mean) / deviation * math.sqrt(len(difference) / 2))


def agreement_matrix(runs: Sequence[ImageScores]) -> Float64[torch.Tensor, "r r"]:
    """Return the share of images to which each pair of runs gives the same class, in [0, 1], float64 [r r]."""
    predicted = torch.stack([torch.from_numpy(run.predicted) for run in runs])
    return (predicted[:, None] == predicted[None]).double().mean(dim=2)


def holm_adjusted(p_values: Sequence[float]) -> list[float]:
    """Return p-values adjusted for their number, which keeps the chance of any false finding below the level.

    Holm 1979, "A Simple Sequentially Rejective Multiple Test Procedure", Scandinavian Journal of Statistics 6.

    >>> holm_adjusted([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted
