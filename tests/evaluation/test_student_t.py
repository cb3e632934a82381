"""Student's t: printed tables, numerical integration and hand arithmetic."""

from __future__ import annotations

import math
from dataclasses import astuple

import numpy as np
import pytest

from firstlight.evaluation.student_t import quantile, summarize_values, two_sided_p_value, welch_test

TABLE = {  # printed quantiles: one-sided 0.95 and 0.975
    1: (6.314, 12.706),
    2: (2.920, 4.303),
    3: (2.353, 3.182),
    4: (2.132, 2.776),
    9: (1.833, 2.262),
    30: (1.697, 2.042),
    120: (1.658, 1.980),
}


@pytest.mark.parametrize(("degrees", "values"), TABLE.items())
def test_quantiles_are_those_of_the_printed_table(degrees: int, values: tuple[float, float]) -> None:
    assert [round(quantile(p, degrees), 3) for p in (0.95, 0.975)] == list(values)


@pytest.mark.parametrize("degrees", [1, 2, 3, 4, 7, 12, 25])
def test_p_values_are_the_integral_of_the_density(degrees: int) -> None:
    grid = np.linspace(0, 1.7, 20001)
    factor = math.exp(math.lgamma((degrees + 1) / 2) - math.lgamma(degrees / 2)) / math.sqrt(degrees * math.pi)
    density = factor * (1 + grid**2 / degrees) ** (-(degrees + 1) / 2)
    assert two_sided_p_value(-1.7, degrees) == pytest.approx(1 - 2 * np.trapezoid(density, grid), abs=1e-8)


def test_a_summary_by_hand() -> None:
    summary = summarize_values([0.90, 0.92, 0.94])
    assert summary.mean == pytest.approx(0.92)
    assert summary.deviation == pytest.approx(0.02)
    error = 0.02 / math.sqrt(3)
    assert summary.interval == pytest.approx((0.92 - 4.303 * error, 0.92 + 4.303 * error), abs=1e-5)
    assert summary.lower_bound == pytest.approx(0.92 - 2.920 * error, abs=1e-5)
    assert astuple(summarize_values([0.5])) == (0.5, None, None, None, (0.5,))


def test_welch_by_hand() -> None:
    """Variances 1 and 4 over 3 values: v = 1/3 and 4/3, t = 2 / sqrt(5/3), (25/9) / (1/18 + 16/18) = 2.94 degrees."""
    found = welch_test([0.0, 1.0, 2.0], [1.0, 3.0, 5.0])
    assert found.difference == pytest.approx(2)
    assert found.interval == pytest.approx([2 - 4.3027 * math.sqrt(5 / 3), 2 + 4.3027 * math.sqrt(5 / 3)], abs=1e-3)
    t = 2 / math.sqrt(5 / 3)
    assert found.p_value == pytest.approx(1 - t / math.sqrt(2 + t * t)), "the closed form for two degrees of freedom"
    assert welch_test([1.0, 1.0], [1.0, 1.0]).p_value == 1
    assert welch_test([1.0, 1.0], [2.0, 2.0]).p_value == 0
