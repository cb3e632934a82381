from __future__ import annotations

import itertools
import math

import pytest

from firstlight.optim import one_cycle


@pytest.mark.parametrize(
    ("step", "num_steps", "warmup", "expected"),
    [
        (0, 100, 0.25, 0.0),
        (5, 100, 0.25, 0.2),
        (25, 100, 0.25, 1.0),
        (50, 100, 0.25, 0.75),  # after a third of the fall: (1 + cos 60 degrees) / 2
        (75, 100, 0.25, 0.25),  # (1 + cos 120 degrees) / 2
        (100, 100, 0.25, 0.0),
        (130, 100, 0.25, 0.0),  # past the end
        (0, 10, 0.0, 1.0),  # no warm-up starts at the peak
        (5, 10, 0.0, 0.5),
        (5, 10, 1.0, 0.5),  # warm-up only
        (10, 10, 1.0, 1.0),
        (0, 1, 0.25, 0.0),
    ],
)
def test_one_cycle_rises_linearly_and_falls_along_a_cosine(
    step: int, num_steps: int, warmup: float, expected: float
) -> None:
    assert one_cycle(step, num_steps, warmup) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("num_steps", [1, 2, 3, 7, 97, 2112])
def test_the_rate_rises_once_and_falls_once_within_the_unit_range(num_steps: int) -> None:
    rates = [one_cycle(step, num_steps) for step in range(num_steps + 1)]
    assert all(0 <= rate <= 1 and math.isfinite(rate) for rate in rates)
    signs = [later > earlier for earlier, later in itertools.pairwise(rates)]
    assert signs == sorted(signs, reverse=True)
    assert rates.index(max(rates)) == math.ceil(num_steps / 4)
