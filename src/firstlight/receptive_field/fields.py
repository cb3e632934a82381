"""The arithmetic of receptive fields along one axis.

For layers l = 1 .. L on one path, with kernels k, strides s, paddings p and dilations d:

    jump   j_L = s_1 s_2 ... s_L
    size   r_L = 1 + sum_l d_l (k_l - 1) j_(l-1)
    first  u_L = - sum_l p_l j_(l-1)

Where paths meet, the union of what they see is kept (Araujo, Norris and Sim 2019, "Computing Receptive Fields of
Convolutional Neural Networks", Distill, doi 10.23915/distill.00021).
"""

from __future__ import annotations

from dataclasses import dataclass

Pair = tuple[int, int]


@dataclass(frozen=True)
class Window:
    """What a convolution or a pool slides over a map; each pair is (along rows, along columns)."""

    kernel: Pair
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    dilation: Pair = (1, 1)


@dataclass(frozen=True)
class Field:
    """The receptive fields of all units of a map along one axis, in input pixels.

    Args:
        size: number of units along the axis.
        jump_px: distance between the fields of two neighbours.
        first_px: first pixel that unit 0 sees; below 0 lies padding.
        receptive_field_px: from the first to the last pixel that a unit sees over all paths.
        narrowest_px: the same over the path that sees least.

    >>> Field(size=32).slide(size=16, kernel=3, stride=2, padding=1)
    Field(size=16, jump_px=2, first_px=-1, receptive_field_px=3, narrowest_px=3)
    """

    size: int
    jump_px: int = 1
    first_px: int = 0
    receptive_field_px: int = 1
    narrowest_px: int = 1

    @property
    def start_px(self) -> float:
        """Centre of what unit 0 sees; the centre of the first pixel is 0."""
        return self.first_px + (self.receptive_field_px - 1) / 2

    def seen_by(self, unit: int) -> Pair:
        """Return the first and the last pixel that a unit sees, not cut at the image's edge."""
        first = self.first_px + unit * self.jump_px
        return first, first + self.receptive_field_px - 1

    def slide(self, size: int, kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1) -> Field:
        """Return the fields of the `size` units that a window leaves when it has gone over the map."""
        grown = dilation * (kernel - 1) * self.jump_px
        return Field(
            size=size,
            jump_px=self.jump_px * stride,
            first_px=self.first_px - padding * self.jump_px,
            receptive_field_px=self.receptive_field_px + grown,
            narrowest_px=self.narrowest_px + grown,
        )

    def whole(self) -> Field:
        """Return the field of one unit that sees the whole map."""
        return self.slide(size=1, kernel=self.size, stride=self.size)

    def union(self, other: Field) -> Field:
        """Return the fields where two paths meet.

        Maps of unequal size (a gate that scales each channel, say) have no common alignment: the larger
        map keeps its centres and takes the wider of the two fields.
        """
        narrowest = min(self.narrowest_px, other.narrowest_px)
        if (self.size, self.jump_px) == (other.size, other.jump_px):
            first = min(self.first_px, other.first_px)
            last = max(self.seen_by(0)[1], other.seen_by(0)[1])
            return Field(self.size, self.jump_px, first, last - first + 1, narrowest)
        larger = max(self, other, key=lambda field: field.size)
        widest = max(self.receptive_field_px, other.receptive_field_px)
        first = larger.first_px - (widest - larger.receptive_field_px) // 2
        return Field(larger.size, larger.jump_px, first, widest, narrowest)
