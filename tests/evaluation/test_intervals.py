"""Wilson's interval against its defining equation."""

from __future__ import annotations

import math

import pytest

from firstlight.evaluation.intervals import Z_95, wilson_interval


@pytest.mark.parametrize(("num_right", "num_images"), [(9465, 10_000), (1, 3), (50, 83), (0, 7), (12, 12)])
def test_each_bound_is_a_share_from_which_the_observed_one_is_z_deviations_away(num_right, num_images):
    """The bounds solve |p - bound| = z sqrt(bound (1 - bound) / n), from which Wilson derived his formula."""
    share = num_right / num_images
    low, high = wilson_interval(num_right, num_images)
    for bound in (low, high):
        deviation = math.sqrt(bound * (1 - bound) / num_images)
        assert abs(share - bound) == pytest.approx(Z_95 * deviation, abs=1e-7)
    assert 0 <= low <= share <= high <= 1
    assert low < high


def test_a_published_example():
    """Newcombe 1998, Statistics in Medicine 17, table I: 81 of 263 gives 0.2553 to 0.3662."""
    low, high = wilson_interval(81, 263)
    assert (round(low, 4), round(high, 4)) == (0.2553, 0.3662)


def test_without_images_the_interval_is_zero_to_one():
    assert wilson_interval(0, 0) == (0.0, 1.0)
