"""Learning-rate curves: pure functions from a step to a factor of the peak learning rate.

`training/lr_schedules.py` builds the schedule of a recipe from them.
"""

from __future__ import annotations

import math


def one_cycle(step: int, num_steps: int, warmup: float = 0.25) -> float:
    """Return the learning rate as a share of its peak: a linear rise, then a cosine decay to zero.

    (Smith and Topin 2017, "Super-Convergence", arXiv 1708.07120.)

    Args:
        step: Index of the step, from 0.
        num_steps: Number of steps of the whole training.
        warmup: Share of the steps in which the rate rises.

    >>> [round(one_cycle(step, 8), 2) for step in range(9)]
    [0.0, 0.5, 1.0, 0.93, 0.75, 0.5, 0.25, 0.07, 0.0]
    """
    peak = warmup * num_steps
    if step < peak:
        return step / peak
    progress = min(1.0, (step - peak) / max(1.0, num_steps - peak))
    return 0.5 * (1 + math.cos(math.pi * progress))


def linear_decay(step: int, num_steps: int | float) -> float:
    """Return the learning rate as a share of its first value: a linear decay to zero, then zero.

    Args:
        step: Index of the step, from 0.
        num_steps: Step at which the rate reaches zero; 0 makes all rates zero.

    >>> [round(linear_decay(step, 4), 2) for step in range(6)]
    [1.0, 0.75, 0.5, 0.25, 0.0, 0.0]
    """
    return max(0.0, 1 - step / num_steps) if num_steps else 0.0
