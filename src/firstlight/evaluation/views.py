"""Test-time augmentation: logits averaged over several views of each image."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal

from torch.nn import functional as F

from firstlight.arrays import Logits, UnitImages

Views = Literal["single", "flip", "flip_shift"]


def views_of(images: UnitImages, how: Views) -> Iterator[tuple[float, UnitImages]]:
    """Yield every view of the images with its weight; the weights add up to 1.

    "single" is the images as they are. "flip" adds their mirror images. "flip_shift" adds two views moved by one
    pixel along both axes, up and left and down and right, what comes into view reflected, with half the weight of
    the centred one, and the mirror images of all three: six views (Jordan 2024, arXiv 2404.00498, section 3.1).

    Args:
        images: in [0, 1], float [n 3 h w].
        how: which views.

    >>> import torch
    >>> [weight for weight, _ in views_of(torch.rand(1, 3, 8, 8), "flip_shift")]
    [0.25, 0.25, 0.125, 0.125, 0.125, 0.125]
    """
    if how == "single":
        yield 1.0, images
        return
    centred = 0.5 if how == "flip" else 0.25
    yield centred, images
    yield centred, images.flip(3)
    if how == "flip_shift":
        height, width = images.shape[2:]
        padded = F.pad(images, (1, 1, 1, 1), mode="reflect")
        for start in (0, 2):
            moved = padded[:, :, start : start + height, start : start + width]
            yield 0.125, moved
            yield 0.125, moved.flip(3)


def averaged_logits(
    network: Callable[[UnitImages], Logits], images: UnitImages, how: Views, single: Logits | None = None
) -> Logits:
    """Return the weighted mean of the logits over all views, float32 [n k].

    Args:
        network: takes images in [0, 1], float [n 3 h w], and returns logits, float [n k].
        images: likewise.
        how: which views; each costs a forward pass.
        single: the logits of the images as they are, where they are known: saves that pass.

    >>> import torch
    >>> left = lambda images: images[:, 0, 0, :2]  # "logits" that see the left edge only
    >>> averaged_logits(left, torch.tensor([1.0, 0.0, 0.0, 3.0]).expand(1, 3, 1, 4), "flip").tolist()
    [[2.0, 0.0]]
    """

    def logits_of(view: UnitImages) -> Logits:
        return single if single is not None and view is images else network(view)

    weighted = (weight * logits_of(view).float() for weight, view in views_of(images, how))
    return sum(weighted, start=next(weighted))
