"""Antialiased shapes in integer arithmetic: the geometry of the `drawn` data set.

Lengths are integers in 1/64 px, and directions come from a table of 240, so that every machine draws the same bits. The
only floating-point operation is a square root, which IEEE 754 rounds exactly. Shapes are signed distances, negative
inside: the minimum of two distances is the union of the shapes, the maximum their intersection.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int16, Int32

PX = 64  # length of a pixel, in units of 1/64 px
NUM_DIRECTIONS = 240  # directions in a full turn; divisible by 3, 4, 5 and 6, the numbers of corners of the shapes
QUARTER = NUM_DIRECTIONS // 4  # number of directions in a quarter turn

_BITS = 12
_ANGLES = np.arange(NUM_DIRECTIONS) * (2 * np.pi / NUM_DIRECTIONS)
# Cosines differ between C libraries in their last bit. None of these values is so close to a half that it would be
# rounded differently.
_DIRECTIONS = np.rint(np.stack([np.cos(_ANGLES), np.sin(_ANGLES)]) * 2**_BITS).astype(np.int32)

Distances = Int32[np.ndarray, "n h w"]  # in 1/64 px, negative inside
Lengths = Int32[np.ndarray, " n"]  # in 1/64 px
Turns = Int32[np.ndarray, " n"]  # in 1/240 of a full turn
Coverage = Int16[np.ndarray, "n h w"]  # share of the pixel in 1/64


@dataclass(frozen=True)
class Frame:
    """The coordinate system of the shape in each image: its origin is the shape's centre, its axes turn with the shape.

    Args:
        across: Distance of each pixel column to the right of the shape's centre, in 1/64 px.
        down: Distance of each pixel row below the shape's centre, in 1/64 px.
        turn: Direction of the shape's first axis.
    """

    across: Int32[np.ndarray, "n 1 w"]
    down: Int32[np.ndarray, "n h 1"]
    turn: Turns

    @staticmethod
    def at(centre_x: Lengths, centre_y: Lengths, turn: Turns, size_px: int) -> Frame:
        """Return the frames of shapes with these centres in square images of this side."""
        middles = np.arange(size_px, dtype=np.int32) * PX + PX // 2
        return Frame(middles - centre_x[:, None, None], middles[:, None] - centre_y[:, None, None], turn)

    def __getitem__(self, which: slice) -> Frame:
        return Frame(self.across[which], self.down[which], self.turn[which])

    def along(self, turn: int = 0) -> Distances:
        """Return the coordinate of each pixel, in 1/64 px, along the axis that is turned by `turn` from the first."""
        cosine, sine = _DIRECTIONS[:, (self.turn + turn) % NUM_DIRECTIONS, None, None]
        return (self.across * cosine + self.down * sine) >> _BITS


def disc(frame: Frame, radius: Lengths, x: Lengths | int = 0, y: Lengths | int = 0) -> Distances:
    """Return the distances to a disc centred at (x, y) in the frame.

    >>> one = np.array([PX], dtype=np.int32)
    >>> disc(Frame.at(one, one, 0 * one, size_px=2), radius=one)[0].tolist()
    [[-19, -19], [-19, -19]]
    """
    u, v = frame.along() - _spread(x), frame.along(QUARTER) - _spread(y)
    return np.sqrt((u * u + v * v).astype(np.float64)).astype(np.int32) - _spread(radius)


def bar(frame: Frame, half_length: Lengths, half_width: Lengths) -> Distances:
    """Return the distances to a rectangle along the frame's first axis."""
    sideways = np.abs(frame.along(QUARTER)) - _spread(half_width)
    return np.maximum(np.abs(frame.along()) - _spread(half_length), sideways)


def polygon(frame: Frame, num_corners: int, inradius: Lengths) -> Distances:
    """Return the distances to a regular polygon, the intersection of the half planes of its edges."""
    return np.maximum.reduce(_edges(frame, num_corners, inradius))


def star(frame: Frame, num_tips: int, inradius: Lengths) -> Distances:
    """Return the distances to a star with five tips or more.

    The lines through the edges of a regular polygon with this inradius bound the star. A pixel of the star is outside
    of at most one of these lines, since a tip lies beyond one edge and between the lines of the two neighbouring edges.
    The distance is therefore the second largest of the distances to the lines.
    """
    largest, second, *others = _edges(frame, num_tips, inradius)
    largest, second = np.maximum(largest, second), np.minimum(largest, second)
    for each in others:
        second = np.maximum(second, np.minimum(largest, each))
        largest = np.maximum(largest, each)
    return second


def cross(frame: Frame, half_length: Lengths, half_width: Lengths) -> Distances:
    """Return the distances to two equal bars at right angles."""
    u, v = np.abs(frame.along()), np.abs(frame.along(QUARTER))
    return np.maximum(np.maximum(u, v) - _spread(half_length), np.minimum(u, v) - _spread(half_width))


def heart(frame: Frame, radius: Lengths) -> Distances:
    """Return the distances to a square with half a disc on each of two neighbouring sides."""
    shift = radius // 3  # the centre of the square is below that of the heart
    u, v = frame.along() + _spread(shift), frame.along(QUARTER) + _spread(shift)
    square = np.maximum(np.abs(u), np.abs(v)) - _spread(radius)
    discs = disc(frame, radius, radius - shift, -shift), disc(frame, radius, -shift, radius - shift)
    return np.minimum(square, np.minimum(*discs))


def crescent(frame: Frame, radius: Lengths) -> Distances:
    """Return the distances to a disc from which a smaller disc is cut out at one side."""
    return np.maximum(disc(frame, radius), -disc(frame, radius * 13 // 16, x=radius * 9 // 16))


def ring(frame: Frame, radius: Lengths) -> Distances:
    """Return the distances to a disc with a round hole."""
    return np.maximum(disc(frame, radius), -disc(frame, radius * 9 // 16))


def coverage(distances: Distances) -> Coverage:
    """Return the share of each pixel that a shape covers, in 1/64; the blurred edge is one pixel wide.

    >>> coverage(np.array([[[-PX, -16, 0, PX]]], dtype=np.int32))[0, 0].tolist()
    [64, 48, 32, 0]
    """
    return np.clip(PX // 2 - distances, 0, PX).astype(np.int16)


# The ten classes. Each scales the nominal radius so that all shapes look equally large.
# Pentagon and hexagon, and the two stars, are the pairs that are easily confused.
SHAPES: dict[str, Callable[[Frame, Lengths], Distances]] = {
    "triangle": lambda frame, radius: polygon(frame, 3, radius * 11 // 16),
    "square": lambda frame, radius: polygon(frame, 4, radius * 13 // 16),
    "pentagon": lambda frame, radius: polygon(frame, 5, radius * 15 // 16),
    "hexagon": lambda frame, radius: polygon(frame, 6, radius * 15 // 16),
    "five-pointed star": lambda frame, radius: star(frame, 5, radius * 29 // 64),
    "six-pointed star": lambda frame, radius: star(frame, 6, radius * 41 // 64),
    "cross": lambda frame, radius: cross(frame, radius * 9 // 8, radius * 3 // 8),
    "heart": lambda frame, radius: heart(frame, radius * 5 // 8),
    "crescent": lambda frame, radius: crescent(frame, radius * 9 // 8),
    "ring": lambda frame, radius: ring(frame, radius * 17 // 16),
}


def _edges(frame: Frame, num_edges: int, inradius: Lengths) -> list[Distances]:
    """Return the signed distances to the lines through the edges of a regular polygon."""
    step = NUM_DIRECTIONS // num_edges
    return [frame.along(step * edge) - _spread(inradius) for edge in range(num_edges)]


def _spread(lengths: Lengths | int) -> Int32[np.ndarray, "n 1 1"] | int:
    """Return the lengths in a shape that broadcasts over the pixels of each image."""
    return lengths if isinstance(lengths, int) else lengths[:, None, None]
