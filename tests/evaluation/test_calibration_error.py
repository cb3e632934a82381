"""The calibration error against a plain loop."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from firstlight.evaluation.calibration_error import calibration_error
from reference.sampled_labels import sampled_labels


def error_by_loop(probabilities: Tensor, labels: Tensor, num_bins: int) -> float:
    total = 0.0
    for number in range(num_bins):
        inside = []
        for row, label in zip(probabilities.double().tolist(), labels.tolist(), strict=True):
            confidence = max(row)
            if number / num_bins < confidence <= (number + 1) / num_bins:
                inside.append((confidence, row.index(confidence) == label))
        if inside:
            gap = sum(right for _, right in inside) / len(inside) - sum(c for c, _ in inside) / len(inside)
            total += len(inside) / len(labels) * abs(gap)
    return total


@pytest.mark.parametrize("num_bins", [1, 7, 15])
def test_the_calibration_error_is_that_of_a_plain_loop(num_bins: int) -> None:
    logits, labels = sampled_labels(2.0, num=500)
    probabilities = logits.softmax(dim=1)
    found = calibration_error(probabilities, labels, num_bins)
    assert found == pytest.approx(error_by_loop(probabilities, labels, num_bins), abs=1e-12)
    assert found > 0.05, "labels were drawn at another temperature: the plain softmax is overconfident"


def test_calibrated_probabilities_have_a_small_error() -> None:
    logits, labels = sampled_labels(2.0, num=20_000)
    assert calibration_error((logits / 2).softmax(dim=1), labels) < 0.012


def test_the_smallest_and_the_largest_confidence_fall_into_a_bin() -> None:
    assert calibration_error(torch.tensor([[1.0, 0.0]]), torch.tensor([0])) == 0
    assert calibration_error(torch.tensor([[1.0, 0.0]]), torch.tensor([1])) == 1
    assert math.isclose(calibration_error(torch.full((1, 20), 0.05), torch.tensor([0])), 0.95, abs_tol=1e-6)
