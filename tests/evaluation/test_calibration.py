from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from firstlight.evaluation.calibration import calibration_error, fit_temperature


def drawn(temperature: float, num: int = 4000, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Logits, and labels drawn from their softmax at a temperature."""
    draw = torch.Generator().manual_seed(seed)
    logits = torch.randn(num, 5, generator=draw) * 3
    labels = torch.multinomial((logits / temperature).softmax(dim=1), 1, generator=draw)[:, 0]
    return logits, labels


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.7])
def test_the_temperature_that_the_labels_were_drawn_with_is_found(temperature: float) -> None:
    assert fit_temperature(*drawn(temperature)) == pytest.approx(temperature, rel=0.06)


@pytest.mark.parametrize("temperature", [0.7, 3.0])
def test_no_temperature_of_a_fine_grid_makes_the_labels_more_probable(temperature: float) -> None:
    logits, labels = drawn(temperature, num=300, seed=1)
    found = fit_temperature(logits, labels)
    grid = [found * factor for factor in (0.9, 0.99, 0.999, 1.001, 1.01, 1.1)] + [0.05, 0.5, 1.0, 5.0, 50.0]
    best = F.cross_entropy(logits.double() / found, labels)
    assert all(F.cross_entropy(logits.double() / each, labels) > best for each in grid)


def test_always_right_is_as_sharp_as_numbers_go_and_always_wrong_as_flat_as_allowed() -> None:
    logits = torch.tensor([[3.0, 0.0], [0.0, 3.0]])
    assert 0.01 <= fit_temperature(logits, torch.tensor([0, 1])) < 0.1
    assert fit_temperature(logits, torch.tensor([1, 0])) == pytest.approx(100)


def test_no_images_cannot_be_fitted() -> None:
    with pytest.raises(ValueError, match="no images"):
        fit_temperature(torch.empty(0, 3), torch.empty(0, dtype=torch.int64))


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
    logits, labels = drawn(2.0, num=500)
    probabilities = logits.softmax(dim=1)
    found = calibration_error(probabilities, labels, num_bins)
    assert found == pytest.approx(error_by_loop(probabilities, labels, num_bins), abs=1e-12)
    assert found > 0.05, "labels were drawn at another temperature: the plain softmax is too sure"


def test_a_calibrated_answer_has_a_small_error() -> None:
    logits, labels = drawn(2.0, num=20_000)
    assert calibration_error((logits / 2).softmax(dim=1), labels) < 0.012


def test_certainty_and_none_at_all_fall_into_a_bin() -> None:
    assert calibration_error(torch.tensor([[1.0, 0.0]]), torch.tensor([0])) == 0
    assert calibration_error(torch.tensor([[1.0, 0.0]]), torch.tensor([1])) == 1
    assert math.isclose(calibration_error(torch.full((1, 20), 0.05), torch.tensor([0])), 0.95, abs_tol=1e-6)
