"""Compare runs on the same test images: group them, and compare every two groups."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from typing import Any

from firstlight.errors import RunError, UsageError
from firstlight.evaluation.comparison import (
    METRICS,
    ImageScores,
    agreement_matrix,
    holm_adjusted,
    image_scores,
    mcnemar_test,
    paired_differences,
    paired_z_p_value,
)
from firstlight.evaluation.student_t import welch_test
from firstlight.reports.compared_groups import PairComparison, RunGroup
from firstlight.runs.run import Run


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
    """Compare runs that were tested on the same images.

    Runs whose recipes differ only in the seed form one group. If this holds for all runs, each run is a group instead.
    Log-likelihood and calibration error are those of the calibrated probabilities, which `Run.predict` returns.

    Args:
        runs: At least two runs with predictions.

    Raises:
        UsageError: Fewer than two different runs are named.
        RunError: A run has no predictions, or the runs were tested on different images.
    """
    folders = [run.path.resolve() for run in runs]
    if len(set(folders)) < 2 or len(set(folders)) < len(folders):
        raise UsageError(_too_few_runs(runs))
    _refuse_other_images(runs)
    groups = _group(runs)
    pairs = [_compare_pair(first, second) for first, second in combinations(groups, 2)]
    adjusted = holm_adjusted([pair.p_value for pair in pairs])
    pairs = [replace(pair, adjusted_p_value=p_value) for pair, p_value in zip(pairs, adjusted, strict=True)]
    agreement = agreement_matrix([scores for group in groups for scores in group.scores]).tolist()
    return RunComparison(tuple(groups), tuple(pairs), agreement)


def _too_few_runs(runs: Sequence[Run]) -> str:
    """Return the message about a list of runs of which fewer than two differ, or some are named twice."""
    if len(runs) == 1:
        return f"a comparison needs at least two runs: name another one besides {runs[0].path}"
    return "name at least two different runs to compare, and each of them once"


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
    """Group the runs whose recipes differ only in the seed; if this holds for all runs, return one group per run."""
    members: dict[str, list[Run]] = {}
    for run in runs:
        members.setdefault(repr(replace(run.recipe, seed=0).to_dict()), []).append(run)
    unnamed: tuple[str, ...] = ("name", "seed")
    if len(members) == 1:
        members, unnamed = {str(run.path): [run] for run in runs}, ("name",)
    recipes = [found[0].recipe.flat() for found in members.values()]
    groups = []
    for number, found in enumerate(members.values()):
        differing = [
            f"{name} {value}"
            for name, value in recipes[number].items()
            if name not in unnamed and any(other.get(name) != value for other in recipes)
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
