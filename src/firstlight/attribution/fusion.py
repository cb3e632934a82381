"""Fusion: the maps of several stages in one, as the last stage is too coarse to show detail."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from firstlight.attribution.maps import upsample


def fuse(maps: Sequence[Float[Tensor, "n _ _"]], size_px: tuple[int, int]) -> Float[Tensor, "n height width"]:
    """Average the stages' maps at one size, each divided by its largest absolute value.

        fused = 1/S sum_s upsample(cam_s) / max_ij |cam_s[i,j]|

    Early stages carry large evidence of both signs that cancels over the image; without the division they
    would drown the late ones. The division is for each image and keeps signs and zeros: a stage with an
    empty map adds nothing. Jiang et al. 2021 (LayerCAM, IEEE Transactions on Image Processing 30, equation 9)
    scale with a tanh and take the largest; that works for positive maps only.

    Args:
        maps: one stage's cams each, signed, float [n h w], of any sizes.
        size_px: height and width of the result.

    Returns:
        The fused maps, signed, within [-1, 1], float [n height width].

    Raises:
        ValueError: no maps were given.

    >>> fuse([torch.tensor([[[4.0, -2.0]]]), torch.tensor([[[0.5]]])], (1, 2)).tolist()
    [[[1.0, 0.25]]]
    """
    if not maps:
        raise ValueError("fusion needs the maps of at least one stage")
    scaled = [upsample(_by_largest(cams), size_px) for cams in maps]
    return torch.stack(scaled).mean(dim=0)


def _by_largest(maps: Float[Tensor, "n h w"]) -> Float[Tensor, "n h w"]:
    largest = maps.abs().amax(dim=(1, 2), keepdim=True)
    return maps / torch.where(largest > 0, largest, 1)
