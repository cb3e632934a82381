"""Confidence intervals of shares, such as the accuracy."""

from __future__ import annotations

import math

Z_95 = 1.959963984540054  # 97.5 % quantile of the standard normal distribution


def wilson_interval(num_right: int, num_images: int, z: float = Z_95) -> tuple[float, float]:
    """Return the Wilson score interval of a share.

        (p + z^2 / 2n -+ z sqrt(p (1 - p) / n + z^2 / 4n^2)) / (1 + z^2 / n),    p = num_right / n

    Unlike the normal approximation it stays within [0, 1] and has a width if all or no images are right. Wilson 1927,
    "Probable Inference, the Law of Succession, and Statistical Inference", Journal of the American Statistical
    Association 22.

    Args:
        num_right: Number of successes.
        num_images: Number n of trials.
        z: Quantile of the standard normal distribution; the default gives a 95 % interval.

    Returns:
        Lower and upper bound, in [0, 1]; (0, 1) for n = 0.

    >>> low, high = wilson_interval(9, 10)
    >>> round(low, 3), round(high, 3)
    (0.596, 0.982)
    """
    if num_images == 0:
        return 0.0, 1.0
    share, square = num_right / num_images, z**2 / num_images
    centre = share + square / 2
    half = z * math.sqrt(share * (1 - share) / num_images + square / (4 * num_images))
    low, high = (centre - half) / (1 + square), (centre + half) / (1 + square)
    return min(max(0.0, low), share), max(min(1.0, high), share)
