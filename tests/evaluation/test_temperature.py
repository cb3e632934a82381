"""The fitted temperature against the one that the labels were drawn with, and against a grid."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from firstlight.evaluation.temperature import fit_temperature
from reference.sampled_labels import sampled_labels


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.7])
def test_the_temperature_that_the_labels_were_drawn_with_is_found(temperature: float) -> None:
    assert fit_temperature(*sampled_labels(temperature)) == pytest.approx(temperature, rel=0.06)


@pytest.mark.parametrize("temperature", [0.7, 3.0])
def test_no_temperature_of_a_fine_grid_makes_the_labels_more_probable(temperature: float) -> None:
    logits, labels = sampled_labels(temperature, num=300, seed=1)
    found = fit_temperature(logits, labels)
    grid = [found * factor for factor in (0.9, 0.99, 0.999, 1.001, 1.01, 1.1)] + [0.05, 0.5, 1.0, 5.0, 50.0]
    best = F.cross_entropy(logits.double() / found, labels)
    assert all(F.cross_entropy(logits.double() / each, labels) > best for each in grid)


def test_perfect_predictions_have_the_lowest_temperature_and_wrong_ones_the_highest() -> None:
    logits = torch.tensor([[3.0, 0.0], [0.0, 3.0]])
    assert 0.01 <= fit_temperature(logits, torch.tensor([0, 1])) < 0.1
    assert fit_temperature(logits, torch.tensor([1, 0])) == pytest.approx(100)


def test_a_fit_without_images_is_refused() -> None:
    with pytest.raises(ValueError, match="no images"):
        fit_temperature(torch.empty(0, 3), torch.empty(0, dtype=torch.int64))
