"""Runs compared: groups, verdicts of runs with chosen mistakes, and refused runs."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from firstlight.errors import RunError, UsageError
from firstlight.evaluation.predictions import Predictions
from firstlight.reports.run_comparison import compare_runs
from firstlight.runs.run import Run
from reference.made_runs import make_runs, predictions_with_mistakes

GOOD, BAD = range(3), range(2, 23)  # 2 mistakes that only the first makes, 20 that only the second makes, 1 of both


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Run]:
    return make_runs(tmp_path_factory.mktemp("runs"), [GOOD, BAD], seeds=(0, 0), epochs=(2, 1))


def copy_run(run: Run, path: Path) -> Run:
    return Run(shutil.copytree(run.path, path))


def test_a_known_difference_is_found_and_the_better_run_is_named(runs: list[Run]) -> None:
    comparison = compare_runs(runs)
    (pair,) = comparison.pairs
    assert [group.name for group in comparison.groups] == ["made, max_epochs 2", "made, max_epochs 1"]
    assert pair.differences["accuracy"].value == pytest.approx(-18 / 83)
    assert (pair.mcnemar.first_only, pair.mcnemar.second_only) == (20, 2)
    expected = 2 * (1 + 22 + 231) / 2**22
    assert pair.p_value == pytest.approx(expected)
    assert pair.better is comparison.groups[0]
    assert pair.verdict.startswith("A is more accurate than B by 21.69 points (95 % interval 1")
    assert "another seed may differ" in pair.verdict
    assert comparison.agreement == [[1, pytest.approx(1 - 22 / 83)], [pytest.approx(1 - 22 / 83), 1]]


def test_runs_in_the_other_order_give_the_mirrored_result(runs: list[Run]) -> None:
    (pair,) = compare_runs(runs[::-1]).pairs
    assert pair.better.letter == "B"
    assert pair.verdict.startswith("B is more accurate than A by 21.69 points (95 % interval 1")
    assert (pair.mcnemar.first_only, pair.mcnemar.second_only) == (2, 20)


def test_a_small_difference_gives_no_verdict(tmp_path: Path) -> None:
    (pair,) = compare_runs(make_runs(tmp_path, [range(3), range(4)], seeds=(0, 0), epochs=(1, 2))).pairs
    assert pair.better is None
    assert pair.verdict.startswith("No difference in accuracy between A and B can be shown (p = 1.000)")


def test_seeds_of_one_recipe_are_a_group(tmp_path: Path) -> None:
    mistakes = [range(4), range(5), range(6), range(20, 44), range(20, 46), range(20, 45)]
    runs = make_runs(tmp_path, mistakes, seeds=(0, 1, 2, 0, 1, 2), epochs=(1, 1, 1, 2, 2, 2))
    comparison = compare_runs(runs)
    first, _ = comparison.groups
    assert [name for name, _ in comparison.runs] == ["A1", "A2", "A3", "B1", "B2", "B3"]
    accuracies = [1 - count / 83 for count in (4, 5, 6)]
    assert first.summaries["accuracy"].values == pytest.approx(accuracies)
    assert first.summaries["accuracy"].deviation == pytest.approx(1 / 83)
    (pair,) = comparison.pairs
    assert pair.mcnemar is None
    assert pair.seeds.difference == pytest.approx(-20 / 83)
    assert pair.better is first
    assert "another seed" not in pair.verdict


def test_seeds_alone_are_compared_one_by_one(tmp_path: Path) -> None:
    comparison = compare_runs(make_runs(tmp_path, [GOOD, BAD], seeds=(0, 1), epochs=(1, 1)))
    assert [group.name for group in comparison.groups] == ["made, seed 0", "made, seed 1"]
    assert comparison.pairs[0].better is comparison.groups[0]


def test_a_difference_within_the_spread_of_the_seeds_gives_no_verdict(tmp_path: Path) -> None:
    """The images alone would tell them apart: 13 mistakes on average against 1."""
    runs = make_runs(tmp_path, [range(1), range(2), [], range(40, 76)], seeds=(0, 1, 0, 1), epochs=(1, 1, 2, 2))
    (pair,) = compare_runs(runs).pairs
    assert pair.differences["accuracy"].is_clear
    assert pair.seeds.p_value > 0.05
    assert pair.better is None
    assert "95 % interval over the seeds -" in pair.verdict


def test_the_numbers_are_json(runs: list[Run]) -> None:
    numbers = json.loads(json.dumps(compare_runs(runs).numbers(), allow_nan=False))
    assert numbers["num_images"] == 83
    assert numbers["pairs"][0]["mcnemar"] == {
        "first_only": 20,
        "second_only": 2,
        "p_value": pytest.approx(1.2e-4, rel=0.02),
    }
    assert [run["accuracy"] for run in numbers["runs"]] == pytest.approx([80 / 83, 62 / 83])
    assert numbers["pairs"][0]["better"] == "A"


def test_a_single_image_gives_no_verdict_and_no_clear_interval(tmp_path: Path) -> None:
    runs = make_runs(tmp_path, [[0], []], seeds=(0, 0), epochs=(1, 2))
    first = torch.tensor([0])
    for run in runs:
        rows = (getattr(run.predictions, name)[first] for name in ("logits", "features", "labels", "ids"))
        Predictions(*rows).save(run.path / "predictions.npz")
    (pair,) = compare_runs([Run(run.path) for run in runs]).pairs
    assert pair.better is None
    assert not any(pair.is_clear(metric) for metric in pair.differences)
    assert "fewer than 30 test images" in pair.verdict


def test_other_test_images_are_refused(runs: list[Run], tmp_path: Path) -> None:
    other = copy_run(runs[1], tmp_path / "digest")
    data = other.data | {"digests": {"test": "0" * 64}}
    other.save_json("environment.json", other.environment | {"data": data})
    with pytest.raises(RunError, match="were tested on different images"):
        compare_runs([runs[0], other])
    other = copy_run(runs[1], tmp_path / "labels")
    found = predictions_with_mistakes([])
    replace(found, labels=found.labels.flip(0)).save(other.path / "predictions.npz")
    with pytest.raises(RunError, match="were tested on different images"):
        compare_runs([runs[0], other])
    with pytest.raises(UsageError, match="at least two different runs"):
        compare_runs([runs[0], Run(runs[0].path)])
    (other.path / "predictions.npz").unlink()
    with pytest.raises(RunError, match="has not been tested"):
        compare_runs([runs[0], Run(other.path)])


def test_the_log_likelihood_is_the_loss_of_the_predictions(runs: list[Run]) -> None:
    assert runs[0].temperature == 1
    assert compare_runs(runs).groups[0].summaries["nll"].mean == pytest.approx(runs[0].predictions.loss)
