"""Durations as text."""

from __future__ import annotations


def duration(seconds: float) -> str:
    """Format a duration for people.

    >>> duration(7.4), duration(75.0), duration(7380.0)
    ('7 s', '1 min 15 s', '2 h 3 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
