"""Paired comparison: enumeration, slow loops and hand arithmetic."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
import torch
from torch.nn import functional

from firstlight.evaluation.calibration_error import calibration_error
from firstlight.evaluation.comparison import (
    agreement_matrix,
    exact_sign_p_value,
    holm_adjusted,
    image_scores,
    mcnemar_test,
    paired_differences,
    paired_z_p_value,
)
from firstlight.evaluation.predictions import Predictions


def random_predictions(seed: int, count: int = 60, skill: float = 1.0) -> Predictions:
    draw = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 3
    logits = torch.randn(count, 3, generator=draw) + skill * functional.one_hot(labels, 3)
    return Predictions(logits, torch.zeros(count, 1), labels, torch.arange(count))


FIRST, SECOND = random_predictions(1), random_predictions(2, skill=2.0)


def rows_of(predictions: Predictions, rows: np.ndarray) -> Predictions:
    chosen = torch.from_numpy(rows)
    return Predictions(*(getattr(predictions, name)[chosen] for name in ("logits", "features", "labels", "ids")))


@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_the_metrics_of_a_run_are_those_of_the_other_modules(temperature: float) -> None:
    scores = image_scores(FIRST, temperature)
    assert scores.value("accuracy") == pytest.approx(FIRST.accuracy)
    nll = functional.cross_entropy(FIRST.logits / temperature, FIRST.labels)
    assert scores.value("nll") == pytest.approx(float(nll), rel=1e-6)
    ece = calibration_error(FIRST.probabilities(temperature), FIRST.labels)
    assert scores.value("ece") == pytest.approx(ece, abs=1e-6)


def test_the_bootstrap_is_that_of_a_slow_loop() -> None:
    found = paired_differences([image_scores(FIRST)], [image_scores(SECOND)], num_replicates=100, seed=3)
    draws = np.random.default_rng(3).integers(0, 60, (100, 60))
    slow: dict[str, list[float]] = {"accuracy": [], "nll": [], "ece": []}
    for rows in draws:
        one, two = rows_of(FIRST, rows), rows_of(SECOND, rows)
        slow["accuracy"].append(two.accuracy - one.accuracy)
        slow["nll"].append(two.loss - one.loss)
        slow["ece"].append(
            calibration_error(two.probabilities(), two.labels) - calibration_error(one.probabilities(), one.labels)
        )
    for metric, values in slow.items():
        assert found[metric].interval == pytest.approx(np.quantile(values, (0.025, 0.975)), abs=1e-6)
    assert found["accuracy"].value == pytest.approx(SECOND.accuracy - FIRST.accuracy)
    assert found["accuracy"].is_clear


def test_several_seeds_are_averaged() -> None:
    group = [image_scores(random_predictions(seed)) for seed in (1, 4, 5)]
    found = paired_differences(group, [image_scores(SECOND)], num_replicates=50)
    mean = sum(scores.value("ece") for scores in group) / 3
    assert found["ece"].value == pytest.approx(image_scores(SECOND).value("ece") - mean)
    same = paired_differences(group, group, num_replicates=50)
    assert all(each.interval == (0.0, 0.0) and not each.is_clear for each in same.values())


@pytest.mark.parametrize(("first", "second"), [(0, 0), (0, 6), (1, 5), (3, 4), (5, 5)])
def test_the_exact_p_value_is_the_share_of_outcomes_at_least_as_unequal(first: int, second: int) -> None:
    outcomes = [abs(2 * sum(each) - first - second) for each in product((0, 1), repeat=first + second)]
    expected = sum(each >= abs(first - second) for each in outcomes) / len(outcomes)
    assert exact_sign_p_value(first, second) == pytest.approx(expected)


def test_the_exact_p_value_of_many_images_is_close_to_the_normal_one() -> None:
    expected = math.erfc((1100 - 1000 - 1) / math.sqrt(2100) / math.sqrt(2))  # with continuity correction
    assert exact_sign_p_value(1000, 1100) == pytest.approx(expected, rel=0.02)


def test_mcnemar_counts_the_images_that_only_one_run_gets_right() -> None:
    found = mcnemar_test(image_scores(FIRST), image_scores(SECOND))
    pairs = list(zip(FIRST.predicted == FIRST.labels, SECOND.predicted == SECOND.labels, strict=True))
    assert found.first_only == sum(bool(one and not two) for one, two in pairs)
    assert found.second_only == sum(bool(two and not one) for one, two in pairs)
    assert found.p_value == exact_sign_p_value(found.first_only, found.second_only)


def test_the_z_test_by_hand() -> None:
    """Of 60 images the difference is 1 for b, -1 for c and 0 for the others."""
    one, two = image_scores(FIRST), image_scores(SECOND)
    test = mcnemar_test(one, two)
    mean = (test.second_only - test.first_only) / 60
    variance = ((test.second_only + test.first_only) - 60 * mean**2) / 59
    assert paired_z_p_value([one], [two]) == pytest.approx(math.erfc(mean / math.sqrt(variance / 60) / math.sqrt(2)))
    assert paired_z_p_value([one], [one]) == 1


def test_agreement_by_loop() -> None:
    runs = [FIRST, SECOND, random_predictions(3)]
    found = agreement_matrix([image_scores(run) for run in runs])
    for i, j in product(range(3), repeat=2):
        pairs = zip(runs[i].predicted.tolist(), runs[j].predicted.tolist(), strict=True)
        assert float(found[i, j]) == pytest.approx(sum(one == two for one, two in pairs) / 60)


def test_holm_never_reverses_the_order() -> None:
    assert holm_adjusted([0.5, 0.02, 0.6]) == pytest.approx([1.0, 0.06, 1.0])
    assert holm_adjusted([]) == []
