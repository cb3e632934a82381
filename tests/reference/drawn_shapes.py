"""Slow twin of `firstlight.data.shapes`: corners from trigonometry, a pixel judged by many points in it."""

from __future__ import annotations

import math

Point = tuple[float, float]


def corners_of_polygon(num_corners: int, inradius_px: float, turn: float) -> list[Point]:
    """Return the corners of a regular polygon around the origin; the middle of its first edge is at angle `turn`."""
    outer = inradius_px / math.cos(math.pi / num_corners)
    angles = [turn + math.pi * (2 * i + 1) / num_corners for i in range(num_corners)]
    return [(outer * math.cos(angle), outer * math.sin(angle)) for angle in angles]


def corners_of_star(num_tips: int, inradius_px: float, turn: float) -> list[Point]:
    """Return tips and notches alternately: notches are corners of the inner polygon, tips are beyond its edges."""
    tip = inradius_px / math.cos(2 * math.pi / num_tips)
    corners = []
    for i, notch in enumerate(corners_of_polygon(num_tips, inradius_px, turn)):
        angle = turn + 2 * math.pi * i / num_tips
        corners += [(tip * math.cos(angle), tip * math.sin(angle)), notch]
    return corners


def contains(corners: list[Point], x: float, y: float) -> bool:
    """Whether a ray from the point to the right crosses the outline an odd number of times."""
    inside = False
    for (x1, y1), (x2, y2) in zip(corners, corners[1:] + corners[:1], strict=True):
        if (y1 > y) != (y2 > y) and x < x1 + (x2 - x1) * (y - y1) / (y2 - y1):
            inside = not inside
    return inside


def coverage(corners: list[Point], centre_px: Point, size_px: int, points: int = 8) -> list[list[float]]:
    """Share of each pixel's points x points samples that lie inside the outline moved to `centre_px`."""
    steps = [(i + 0.5) / points for i in range(points)]

    def share(row: int, column: int) -> float:
        samples = [(column + dx - centre_px[0], row + dy - centre_px[1]) for dy in steps for dx in steps]
        return sum(contains(corners, x, y) for x, y in samples) / len(samples)

    return [[share(row, column) for column in range(size_px)] for row in range(size_px)]
