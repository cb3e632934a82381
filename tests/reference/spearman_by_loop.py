"""Spearman's rank correlation from its definition: Pearson's correlation of the mean ranks."""

from __future__ import annotations

from statistics import correlation


def spearman(first: list[float], second: list[float]) -> float:
    """Return the rank correlation of two lists, neither of them constant."""
    return correlation(_ranks(first), _ranks(second))


def _ranks(values: list[float]) -> list[float]:
    return [sum(other < value for other in values) + sum(other == value for other in values) / 2 for value in values]
