"""Compare runs on the same test images: which is better, by how much, and on which images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from itertools import combinations
from typing import Any

from firstlight.errors import RunError, UsageError
from firstlight.evaluation.comparison import (
    METRICS,
    Difference,
    ImageScores,
    McNemar,
    Metric,
    agreement_matrix,
    holm_adjusted,
    image_scores,
    mcnemar_test,
    paired_differences,
    paired_z_p_value,
)
from firstlight.evaluation.intervals import wilson_interval
from firstlight.evaluation.student_t import MeanDifference, MetricSummary, summarize_values, welch_test
from firstlight.runs.run import Run

LEVEL = 0.05
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
        p_value: p-value of equal accuracy: McNemar's, or the larger one of the z-test over the images and Welch's test.
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
        """One or two sentences that say which is better."""
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
                f"No difference in accuracy between {a} and {b} can be shown (p = {as_p(self.adjusted_p_value)}). {b} "
                f"minus {a} is {points(accuracy.value)}, {kind} {bounds}."
            )
        sign, worse = (1, a) if self.better is self.second else (-1, b)
        low, high = sorted(100 * sign * bound for bound in accuracy.interval)
        return (
            f"{self.better.letter} is more accurate than {worse} by {100 * sign * accuracy.value:.2f} points (95 % "
            f"interval {low:.2f} to {high:.2f}, p = {as_p(self.adjusted_p_value)})."
        )

    def _other_sentences(self) -> list[str]:
        sentences = []
        for metric in ("nll", "ece"):
            found = self.differences[metric]
            if found.is_clear:
                better = self.second if found.value < 0 else self.first
                sentences.append(f"The {METRIC_NAMES[metric]} is lower for {better.letter}.")
        return sentences

    def _seed_sentence(self) -> list[str]:
        single = [group.letter for group in (self.first, self.second) if len(group.runs) == 1]
        if not single or self.better is None:
            return []
        which = "these runs" if len(single) == 2 else f"this run of {single[0]}"
        return [f"This holds for {which}; another seed may differ: firstlight fit --seeds N measures by how much."]


@dataclass(frozen=True, eq=False)
class RunComparison:
    """Comparison of runs on the same test images.

    Args:
        groups: Groups of runs, in the order in which the runs were named.
        pairs: Every pair of groups.
        agreement: Share of images to which two runs give the same class, for each pair of runs.
    """

    groups: tuple[RunGroup, ...]
    pairs: tuple[PairComparison, ...]
    agreement: list[list[float]]

    @property
    def runs(self) -> list[tuple[str, Run]]:
        """Every run with its name: the letter of its group, with a number if the group has several runs."""
        return [
            (group.letter + (str(number) if len(group.runs) > 1 else ""), run)
            for group in self.groups
            for number, run in enumerate(group.runs, 1)
        ]

    def numbers(self) -> dict[str, Any]:
        """Return everything as JSON can hold it."""
        run = self.groups[0].runs[0]
        return {
            "data": run.data["name"],
            "num_images": len(run.predictions),
            "class_names": list(run.class_names),
            "runs": [
                {"name": name, "path": str(run.path), "seed": run.recipe.seed} | _metrics(scores)
                for (name, run), scores in zip(
                    self.runs, (scores for group in self.groups for scores in group.scores), strict=True
                )
            ],
            "groups": [_group_numbers(group) for group in self.groups],
            "pairs": [_pair_numbers(pair) for pair in self.pairs],
            "agreement": self.agreement,
        }


def compare_runs(runs: Sequence[Run]) -> RunComparison:
    """Compare runs that were tested on the same images. Runs whose recipes differ in the seed alone are one group.

    Log-likelihood and calibration error are those of the calibrated probabilities, which `Run.predict` returns.

    Args:
        runs: At least two runs with predictions.

    Raises:
        UsageError: Fewer than two different runs are named.
        RunError: A run has no predictions, or the runs were tested on different images.
    """
    folders = [run.path.resolve() for run in runs]
    if len(set(folders)) < 2 or len(set(folders)) < len(folders):
        raise UsageError("name at least two different runs to compare, each of them once")
    _refuse_other_images(runs)
    groups = _group(runs)
    pairs = [_compare_pair(first, second) for first, second in combinations(groups, 2)]
    adjusted = holm_adjusted([pair.p_value for pair in pairs])
    pairs = [replace(pair, adjusted_p_value=p_value) for pair, p_value in zip(pairs, adjusted, strict=True)]
    agreement = agreement_matrix([scores for group in groups for scores in group.scores]).tolist()
    return RunComparison(tuple(groups), tuple(pairs), agreement)


def _refuse_other_images(runs: Sequence[Run]) -> None:
    """Raise RunError unless all runs were tested on the same images, with the same classes in the same order."""
    first = runs[0]
    digests = [run.data.get("digests", {}).get("test") for run in runs]
    for run, digest in zip(runs, digests, strict=True):
        if not len(run.predictions):
            raise RunError(f"{run.path}: has no predictions for test images to compare")
        if run.class_names != first.class_names:
            raise RunError(
                f"{first.path} and {run.path} have different classes; only runs on the same data can be compared"
            )
        is_other = None not in (digest, digests[0]) and digest != digests[0]
        known, found = first.predictions, run.predictions
        if is_other or not known.labels.equal(found.labels) or not known.ids.equal(found.ids):
            raise RunError(
                f"{first.path} and {run.path} were tested on different images; only runs with the same test images "
                "can be compared"
            )


def _group(runs: Sequence[Run]) -> list[RunGroup]:
    members: dict[str, list[Run]] = {}
    for run in runs:
        members.setdefault(repr(replace(run.recipe, seed=0).to_dict()), []).append(run)
    recipes = [found[0].recipe.flat() for found in members.values()]
    groups = []
    for number, found in enumerate(members.values()):
        differing = [
            f"{name} {value}"
            for name, value in recipes[number].items()
            if name not in ("name", "seed") and any(other.get(name) != value for other in recipes)
        ]
        scores = tuple(image_scores(run.predictions, run.temperature) for run in found)
        name = ", ".join([found[0].recipe.name, *differing[:3]])
        groups.append(RunGroup(_letter(number), name, tuple(found), scores))
    return groups


def _letter(number: int) -> str:
    """Return A, B, ... Z, AA, AB and so on.

    >>> _letter(0), _letter(27)
    ('A', 'AB')
    """
    return (_letter(number // 26 - 1) if number >= 26 else "") + chr(ord("A") + number % 26)


def _compare_pair(first: RunGroup, second: RunGroup) -> PairComparison:
    differences = paired_differences(first.scores, second.scores)
    if len(first.runs) == len(second.runs) == 1:
        test = mcnemar_test(first.scores[0], second.scores[0])
        return PairComparison(first, second, differences, test, None, test.p_value)
    p_value, seeds = paired_z_p_value(first.scores, second.scores), None
    if len(first.runs) > 1 and len(second.runs) > 1:
        seeds = welch_test(*(group.summaries["accuracy"].values for group in (first, second)))
        p_value = max(p_value, seeds.p_value)
    return PairComparison(first, second, differences, None, seeds, p_value)


def _metrics(scores: ImageScores) -> dict[str, float]:
    return {metric: scores.value(metric) for metric in METRICS}


def _group_numbers(group: RunGroup) -> dict[str, Any]:
    return {
        "name": group.letter,
        "description": group.name,
        "runs": [str(run.path) for run in group.runs],
        **{metric: asdict(summary) for metric, summary in group.summaries.items()},
    }


def _pair_numbers(pair: PairComparison) -> dict[str, Any]:
    return {
        "first": pair.first.letter,
        "second": pair.second.letter,
        **{
            metric: {"difference": found.value, "interval": list(found.interval)}
            for metric, found in pair.differences.items()
        },
        "mcnemar": None if pair.mcnemar is None else asdict(pair.mcnemar),
        "seeds": None if pair.seeds is None else asdict(pair.seeds),
        "p_value": pair.p_value,
        "adjusted_p_value": pair.adjusted_p_value,
        "better": None if pair.better is None else pair.better.letter,
        "verdict": pair.verdict,
    }


def points(share: float) -> str:
    """Return a difference of shares in percentage points.

    >>> points(0.0123), points(-0.5), points(0.00001)
    ('+1.23 points', '-50.00 points', '+0.00 points')
    """
    return f"{100 * share:+.2f} points"


def as_p(p_value: float) -> str:
    """Return a p-value as text.

    >>> as_p(0.0421), as_p(1e-9)
    ('0.042', '< 0.001')
    """
    return "< 0.001" if p_value < 0.001 else f"{p_value:.3f}"


def difference_texts(metric: Metric, difference: Difference) -> tuple[str, str]:
    """Return a difference and its interval as text: in nats for the log-likelihood, else in percentage points.

    >>> difference_texts("ece", Difference(0.01, (-0.005, 0.02)))
    ('+1.00 points', '-0.50 to +2.00 points')
    """
    low, high = difference.interval
    if metric == "nll":
        return f"{difference.value:+.4f}", f"{low:+.4f} to {high:+.4f}"
    return points(difference.value), f"{100 * low:+.2f} to {points(high)}"
