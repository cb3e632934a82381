"""The published results of the recipes: accuracy, minutes and hardware, from a file in the package.

`benchmarks/published.py` writes `published.json` from `benchmarks/results/`. Imports no PyTorch.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PATH = Path(__file__).with_name("published.json")


@dataclass(frozen=True)
class Accuracy:
    """Mean test accuracy over the seeds, in [0, 1], and its standard deviation; None for a single run."""

    mean: float
    deviation: float | None

    def __str__(self) -> str:
        spread = "" if self.deviation is None else f" ± {100 * self.deviation:.2f}"
        return f"{self.mean:.2%}".removesuffix("%") + f"{spread} %"


@dataclass(frozen=True)
class PublishedResults:
    """The latest measured results of a recipe.

    Args:
        n: Number of runs, each with its own seed.
        test_acc: Accuracy on the test split, single view.
        test_acc_tta: Accuracy with test-time augmentation (tta); None for a recipe without views.
        minutes: Mean duration of a run.
        minutes_of: What was timed, "training" or "training and test".
        hardware: Processor and number of threads.
        source: File in `benchmarks/results/`.
        commits: Commits that were measured.
        seeds: Seeds of the runs.
    """

    n: int
    test_acc: Accuracy
    test_acc_tta: Accuracy | None
    minutes: float
    minutes_of: str
    hardware: str
    source: str
    commits: list[str]
    seeds: list[int]


def published_results() -> dict[str, PublishedResults]:
    """Return the published results by the name of the recipe; a recipe without results is left out.

    >>> published_results()["page24"].n
    3
    """
    return {name: _from_json(values) for name, values in json.loads(PATH.read_text(encoding="utf-8")).items()}


def _from_json(values: dict[str, Any]) -> PublishedResults:
    tta = values["test_acc_tta"]
    accuracies = {"test_acc": Accuracy(**values["test_acc"]), "test_acc_tta": Accuracy(**tta) if tta else None}
    return PublishedResults(**values | accuracies)
