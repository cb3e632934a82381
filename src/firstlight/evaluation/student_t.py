"""Student's t distribution: means of few values, such as the accuracies of several seeds, with their uncertainty."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

MAX_T = 1e9  # upper end of the interval in which `quantile` searches


def two_sided_p_value(t: float, degrees: int) -> float:
    """Return the probability that |T| is at least |t|, for Student's t with an integer number of degrees of freedom.

    The finite series of Abramowitz and Stegun 1964, "Handbook of Mathematical Functions", 26.7.3 and 26.7.4.

    Args:
        t: Value of the statistic.
        degrees: Degrees of freedom, at least 1.

    >>> two_sided_p_value(1.0, 1)
    0.5
    """
    angle = math.atan(abs(t) / math.sqrt(degrees))
    sine, cosine = math.sin(angle), math.cos(angle)
    term, total = (cosine, 0.0) if degrees % 2 else (1.0, 0.0)
    for power in range(degrees % 2 + 2, degrees + 1, 2):
        total += term
        term *= cosine**2 * (power - 1) / power
    if degrees % 2:
        return 1 - 2 / math.pi * (angle + sine * total)
    return 1 - sine * total


def quantile(p: float, degrees: int) -> float:
    """Return the value below which Student's t lies with probability `p`, by bisection.

    Args:
        p: Probability above 0.5 and below 1.
        degrees: Degrees of freedom, at least 1.

    >>> round(quantile(0.975, 4), 3)
    2.776
    """
    low, high = 0.0, MAX_T
    while high - low > 1e-12 * high:
        middle = (low + high) / 2
        if 1 - two_sided_p_value(middle, degrees) / 2 < p:
            low = middle
        else:
            high = middle
    return (low + high) / 2


@dataclass(frozen=True)
class MetricSummary:
    """Mean of a metric over several seeds or folds.

    Args:
        mean: Mean of the values.
        deviation: Standard deviation of the values (with n - 1); None for a single value.
        interval: Two-sided 95 % interval of the mean; None for a single value.
        lower_bound: One-sided lower 95 % bound of the mean; None for a single value.
        values: The values.
    """

    mean: float
    deviation: float | None
    interval: tuple[float, float] | None
    lower_bound: float | None
    values: tuple[float, ...]


def summarize_values(values: Sequence[float]) -> MetricSummary:
    """Return mean, standard deviation and confidence bounds of the mean, which assume normally distributed values.

        mean -+ t(0.975, n - 1) s / sqrt(n),    lower bound: mean - t(0.95, n - 1) s / sqrt(n)

    Args:
        values: At least one value.

    >>> summary = summarize_values([0.5, 0.75, 1.0])
    >>> summary.mean, summary.deviation, round(summary.lower_bound, 3)
    (0.75, 0.25, 0.329)
    """
    mean, degrees = statistics.fmean(values), len(values) - 1
    if not degrees:
        return MetricSummary(mean, None, None, None, tuple(values))
    deviation = statistics.stdev(values)
    error = deviation / math.sqrt(len(values))
    half = quantile(0.975, degrees) * error
    bound = mean - quantile(0.95, degrees) * error
    return MetricSummary(mean, deviation, (mean - half, mean + half), bound, tuple(values))


@dataclass(frozen=True)
class MeanDifference:
    """Difference of two means.

    Args:
        difference: Second mean minus first mean.
        interval: Two-sided 95 % interval of the difference.
        p_value: Two-sided p-value of no difference.
    """

    difference: float
    interval: tuple[float, float]
    p_value: float


def welch_test(first: Sequence[float], second: Sequence[float]) -> MeanDifference:
    """Compare the means of two sets of independent values by Welch's t-test.

        t = (m2 - m1) / sqrt(v1 + v2),    v = s^2 / n,    degrees = (v1 + v2)^2 / sum(v^2 / (n - 1)), rounded down

    Welch 1947, "The Generalization of 'Student's' Problem when Several Different Population Variances are Involved",
    Biometrika 34.

    Args:
        first: At least two values.
        second: At least two values.
    """
    parts = [(statistics.variance(values) / len(values), len(values) - 1) for values in (first, second)]
    difference = statistics.fmean(second) - statistics.fmean(first)
    variance = sum(part for part, _ in parts)
    if variance == 0:
        return MeanDifference(difference, (difference, difference), 1.0 if difference == 0 else 0.0)
    degrees = max(1, int(variance**2 / sum(part**2 / count for part, count in parts)))
    error = math.sqrt(variance)
    half = quantile(0.975, degrees) * error
    p_value = two_sided_p_value(difference / error, degrees)
    return MeanDifference(difference, (difference - half, difference + half), p_value)
