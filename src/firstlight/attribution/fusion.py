"""Fusion of the maps of several stages: early stages add the detail that the last stage is too coarse to show."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from firstlight.attribution.maps import upsample


def fuse(maps: Sequence[Float[Tensor, "n _ _"]], size_px: tuple[int, int]) -> Float[Tensor, "n height width"]:
    """Average the maps of several stages at one size, each divided by its largest absolute value.

        fused = 1/S sum_s upsample(cam_s) / max_ij |cam_s[i,j]|

    Maps of early stages have large values of both signs, which cancel over the image; without the division they
    would dominate the sum. Each image's map is divided separately. The division keeps signs and zeros, so a stage
    whose map is zero adds nothing. Jiang et al. 2021 (LayerCAM, IEEE Transactions on Image Processing 30,
    equation 9) scale with a tanh and take the maximum over the stages instead, which works for positive maps only.

    Args:
        maps: CAMs of each stage, signed, float [n h w]; height and width may differ between stages.
        size_px: Height and width of the result in pixels.

    Returns:
        The fused maps, signed, within [-1, 1], float [n height width].

    Raises:
        ValueError: `maps` is empty.

    >>> fuse([torch.tensor([[[4.0, -2.0]]]), torch.tensor([[[0.5]]])], (1, 2)).tolist()
    [[[1.0, 0.25]]]
    """
    if not maps:
        raise ValueError("fusion needs the maps of at least one stage")
    scaled = [upsample(_divided_by_largest(cams), size_px) for cams in maps]
    return torch.stack(scaled).mean(dim=0)


def _divided_by_largest(maps: Float[Tensor, "n h w"]) -> Float[Tensor, "n h w"]:
    largest = maps.abs().amax(dim=(1, 2), keepdim=True)
    return maps / torch.where(largest > 0, largest, 1)
