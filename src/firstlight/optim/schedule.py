"""Learning-rate schedules as pure functions of the step."""

from __future__ import annotations

import math


def one_cycle(step: int, num_steps: int, warmup: float = 0.25) -> float:
    """Return the share of the peak learning rate at one step: linear up, then a cosine down to zero.

    (Smith and Topin 2017, "Super-Convergence", arXiv 1708.07120.)

    Args:
        step: from 0.
        num_steps: of the whole run.
        warmup: share of the run spent going up.

    >>> [round(one_cycle(step, 8), 2) for step in range(9)]
    [0.0, 0.5, 1.0, 0.93, 0.75, 0.5, 0.25, 0.07, 0.0]
    """
    peak = warmup * num_steps
    if step < peak:
        return step / peak
    progress = min(1.0, (step - peak) / max(1.0, num_steps - peak))
    return 0.5 * (1 + math.cos(math.pi * progress))


def linear_decay(step: int, num_steps: int | float) -> float:
    """Return the share of the first learning rate at one step: falling linearly to zero, and zero from then on.

    Args:
        step: from 0.
        num_steps: after which nothing is left; 0 means from the start.

    >>> [round(linear_decay(step, 4), 2) for step in range(6)]
    [1.0, 0.75, 0.5, 0.25, 0.0, 0.0]
    """
    return max(0.0, 1 - step / num_steps) if num_steps else 0.0
