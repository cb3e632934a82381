"""Groups of runs, and the comparison of two groups: the numbers, and the verdict in sentences."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from firstlight.evaluation.comparison import METRICS, Difference, ImageScores, McNemar, Metric
from firstlight.evaluation.intervals import wilson_interval
from firstlight.evaluation.student_t import MeanDifference, MetricSummary, summarize_values
from firstlight.runs.run import Run

LEVEL = 0.05
MIN_IMAGES = 30  # with fewer test images, bootstrap intervals are unreliable
METRIC_NAMES: dict[Metric, str] = {
    "accuracy": "accuracy",
    "nll": "negative log-likelihood",
    "ece": "calibration error (ECE)",
}


@dataclass(frozen=True, eq=False)
class RunGroup:
    """One run, or the runs of one recipe with several seeds.

    Args:
        letter: Short name in tables: A, B and so on.
        name: What distinguishes the group from the others.
        runs: Runs of the group.
        scores: Scores of each run.
    """

    letter: str
    name: str
    runs: tuple[Run, ...]
    scores: tuple[ImageScores, ...]

    @cached_property
    def summaries(self) -> dict[Metric, MetricSummary]:
        """Mean of each metric over the runs."""
        return {metric: summarize_values([scores.value(metric) for scores in self.scores]) for metric in METRICS}

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval of the accuracy: Student's t over the seeds, or Wilson's over the images of a single run."""
        found = self.summaries["accuracy"].interval
        right = self.scores[0].right
        return found if found is not None else wilson_interval(int(right.sum()), len(right))


@dataclass(frozen=True, eq=False)
class PairComparison:
    """Comparison of two groups of runs.

    Args:
        first: First group.
        second: Second group.
        differences: Differences, second minus first, with bootstrap intervals over the images.
        mcnemar: McNemar's exact test; None if a group has several runs.
        seeds: Welch's t-test of the accuracies of the seeds; None unless both groups have several runs.
        p_value: p-value of equal accuracies, from McNemar's test or from the z-test over the images; the larger of the
            z-test's and Welch's, if both were made.
        adjusted_p_value: p-value after Holm's correction for the number of pairs.
    """

    first: RunGroup
    second: RunGroup
    differences: dict[Metric, Difference]
    mcnemar: McNemar | None
    seeds: MeanDifference | None
    p_value: float
    adjusted_p_value: float = 1.0

    @property
    def better(self) -> RunGroup | None:
        """Group with the significantly higher accuracy; None if no difference can be shown."""
        if self.adjusted_p_value >= LEVEL:
            return None
        return self.second if self.differences["accuracy"].value > 0 else self.first

    @property
    def verdict(self) -> str:
        """Sentences that say which group is better, by how much, and by which metrics."""
        return " ".join([self._accuracy_sentence(), *self._other_sentences(), *self._seed_sentence()])

    def _accuracy_sentence(self) -> str:
        accuracy = self.differences["accuracy"]
        a, b = self.first.letter, self.second.letter
        if self.better is None:
            interval, kind = accuracy.interval, "95 % interval"
            if self.seeds is not None and self.seeds.p_value == self.p_value:
                interval, kind = self.seeds.interval, "95 % interval over the seeds"
            bounds = " to ".join(f"{100 * bound:+.2f}" for bound in interval)
            return (
                f"No difference in accuracy between {a} and {b} can be shown "
                f"({p_value_text(self.adjusted_p_value)}). {b} minus {a} is {points(accuracy.value)}, {kind} {bounds}."
            )
        sign, worse = (1, a) if self.better is self.second else (-1, b)
        low, high = sorted(100 * sign * bound for bound in accuracy.interval)
        return (
            f"{self.better.letter} is more accurate than {worse} by {100 * sign * accuracy.value:.2f} points (95 % "
            f"interval {low:.2f} to {high:.2f}, {p_value_text(self.adjusted_p_value)})."
        )

    def is_clear(self, metric: Metric) -> bool:
        """Return whether the interval of a metric excludes 0 and there are enough images for the bootstrap."""
        return self.differences[metric].is_clear and len(self.first.scores[0].right) >= MIN_IMAGES

    def _other_sentences(self) -> list[str]:
        num_images = len(self.first.scores[0].right)
        if num_images < MIN_IMAGES:
            return [f"The intervals are not reliable, because there are fewer than {MIN_IMAGES} test images."]
        sentences: list[str] = []
        for metric in ("nll", "ece"):
            found = self.differences[metric]
            if self.is_clear(metric):
                better = self.second if found.value < 0 else self.first
                sentences.append(f"The {METRIC_NAMES[metric]} is lower for {better.letter}.")
        return sentences

    def _seed_sentence(self) -> list[str]:
        single = [group.letter for group in (self.first, self.second) if len(group.runs) == 1]
        if not single or self.better is None:
            return []
        which = "these runs" if len(single) == 2 else f"this run of {single[0]}"
        return [f"This holds for {which}; another seed may differ: firstlight fit --seeds N measures by how much."]


def points(share: float) -> str:
    """Return a difference of shares in percentage points.

    >>> points(0.0123), points(-0.5), points(0.00001)
    ('+1.23 points', '-50.00 points', '+0.00 points')
    """
    return f"{100 * share:+.2f} points"


def p_value_text(p_value: float) -> str:
    """Return a p-value as text.

    >>> p_value_text(0.0421), p_value_text(1e-9)
    ('p = 0.042', 'p < 0.001')
    """
    return "p < 0.001" if p_value < 0.001 else f"p = {p_value:.3f}"


def difference_texts(metric: Metric, difference: Difference) -> tuple[str, str]:
    """Return a difference and its interval as text: in nats for the log-likelihood, else in percentage points.

    >>> difference_texts("ece", Difference(0.01, (-0.005, 0.02)))
    ('+1.00 points', '-0.50 to +2.00 points')
    """
    low, high = difference.interval
    if metric == "nll":
        return f"{difference.value:+.4f}", f"{low:+.4f} to {high:+.4f}"
    return points(difference.value), f"{100 * low:+.2f} to {points(high)}"
