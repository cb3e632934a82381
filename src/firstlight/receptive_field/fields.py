"""Arithmetic of receptive fields along one axis.

For layers l = 1 .. L on one path, with kernels k, strides s, paddings p and dilations d:

    jump   j_L = s_1 s_2 ... s_L
    size   r_L = 1 + sum_l d_l (k_l - 1) j_(l-1)
    first  u_L = - sum_l p_l j_(l-1)

Where paths meet, the receptive field is the union of those of the paths. Araujo, Norris and Sim 2019, "Computing
Receptive Fields of Convolutional Neural Networks", Distill, doi 10.23915/distill.00021.
"""

from __future__ import annotations

from dataclasses import dataclass

Pair = tuple[int, int]


@dataclass(frozen=True)
class Window:
    """The sliding window of a convolution or a pool; each pair is (along rows, along columns)."""

    kernel: Pair
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    dilation: Pair = (1, 1)


@dataclass(frozen=True)
class Field:
    """The receptive fields of all units of a map along one axis, in input pixels.

    Args:
        size: Number of units along the axis.
        jump_px: Distance between the receptive fields of neighbouring units.
        first_px: First pixel in the receptive field of unit 0; negative values are padding.
        receptive_field_px: Extent of a unit's receptive field over all paths, from its first to its last pixel.
        narrowest_px: Extent of the receptive field over the path where it is smallest.

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
        """Centre of unit 0's receptive field, in pixels; 0 is the centre of the first pixel."""
        return self.first_px + (self.receptive_field_px - 1) / 2

    def range_px(self, unit: int) -> Pair:
        """Return the first and the last pixel of a unit's receptive field; they may lie outside the image."""
        first = self.first_px + unit * self.jump_px
        return first, first + self.receptive_field_px - 1

    def slide(self, size: int, kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1) -> Field:
        """Return the receptive fields after a sliding window.

        Args:
            size: Number of units of the output along the axis.
            kernel: Size of the window, in units.
            stride: Stride of the window.
            padding: Units of padding before the first unit.
            dilation: Distance between the window's units.
        """
        growth_px = dilation * (kernel - 1) * self.jump_px
        return Field(
            size=size,
            jump_px=self.jump_px * stride,
            first_px=self.first_px - padding * self.jump_px,
            receptive_field_px=self.receptive_field_px + growth_px,
            narrowest_px=self.narrowest_px + growth_px,
        )

    def union(self, other: Field) -> Field:
        """Return the receptive fields where two paths meet.

        Maps of unequal size, for instance a map and a gate that scales its channels, have no common alignment. In this
        case the larger map keeps its centres and takes the larger of the two extents.
        """
        narrowest = min(self.narrowest_px, other.narrowest_px)
        if (self.size, self.jump_px) == (other.size, other.jump_px):
            first = min(self.first_px, other.first_px)
            last = max(self.range_px(0)[1], other.range_px(0)[1])
            return Field(self.size, self.jump_px, first, last - first + 1, narrowest)
        larger = max(self, other, key=lambda field: field.size)
        widest = max(self.receptive_field_px, other.receptive_field_px)
        first = larger.first_px - (widest - larger.receptive_field_px) // 2
        return Field(larger.size, larger.jump_px, first, widest, narrowest)
