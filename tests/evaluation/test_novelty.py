from __future__ import annotations

import math

import pytest
import torch

from firstlight.evaluation.novelty import energy, fit_threshold, is_novel


def test_energy_is_minus_the_logarithm_of_the_summed_exponentials() -> None:
    rows = [[1.0, -2.0, 0.5], [700.0, 0.0, 0.0]]
    by_hand = [-math.log(sum(math.exp(z) for z in rows[0])), -700.0]
    assert energy(torch.tensor(rows)).tolist() == pytest.approx(by_hand, rel=1e-6)


def test_the_threshold_has_the_requested_share_of_false_alarms() -> None:
    draw = torch.Generator().manual_seed(0)
    familiar = torch.randn(10_000, 4, generator=draw) + 5
    threshold = fit_threshold(energy(familiar), 0.05)
    assert is_novel(familiar, threshold).float().mean().item() == pytest.approx(0.05, abs=2e-4)


def test_small_logits_are_more_novel_than_large_ones() -> None:
    logits = torch.tensor([[0.0, 0.0, 0.0], [0.0, 12.0, 0.0]])
    assert is_novel(logits, -5.0).tolist() == [True, False]


@pytest.mark.parametrize("num_val", [19, 20, 50, 137])
def test_new_images_raise_few_false_alarms_whatever_the_number_of_validation_images(num_val: int) -> None:
    """The mean over many draws of the validation images; an empirical quantile of 20 images gives 7 to 10 %."""
    draw = torch.Generator().manual_seed(0)
    shares = []
    for _ in range(4000):
        threshold = fit_threshold(torch.randn(num_val, generator=draw), 0.05)
        shares.append(0.5 * math.erfc(threshold / math.sqrt(2)))  # share of a normal distribution above it
    assert sum(shares) / len(shares) == pytest.approx(0.05, abs=0.05 / 4)
    assert sum(shares) / len(shares) < 0.052


def test_few_validation_images_flag_only_what_is_far_away() -> None:
    assert fit_threshold(torch.tensor([3.0, -1.0, 1.0]), 0.05) == 7.0
    with pytest.raises(ValueError, match="needs energies"):
        fit_threshold(torch.zeros(0), 0.05)
