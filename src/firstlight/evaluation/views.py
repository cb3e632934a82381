"""Test-time augmentation: logits averaged over several views of each image."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal

from torch import Tensor
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
    network: Callable[[UnitImages], Logits],
    images: UnitImages,
    how: Views,
    single: Logits | None = None,
    margin: float = 1.0,
) -> Logits:
    """Return the weighted mean of the logits over all views, float32 [n k].

    More views rarely change the answer for an image of which the network is sure. With a `margin` below 1, only images
    whose two largest probabilities at a single view differ by no more than it get the other views; the rest keep
    the logits of the single view.

    Args:
        network: takes images in [0, 1], float [n 3 h w], and returns logits, float [n k].
        images: likewise.
        how: which views; each costs a forward pass.
        single: the logits of the images as they are, where they are known: saves that pass.
        margin: difference of two probabilities, 0 to 1.

    >>> import torch
    >>> left = lambda images: images[:, 0, 0, :2]  # "logits" that see the left edge only
    >>> averaged_logits(left, torch.tensor([1.0, 0.0, 0.0, 3.0]).expand(1, 3, 1, 4), "flip").tolist()
    [[2.0, 0.0]]
    """
    if margin >= 1 or how == "single":
        return _mean_over_views(network, images, how, single)
    logits = (network(images) if single is None else single).float().clone()
    unsure = margins(logits) <= margin
    if unsure.any():
        logits[unsure] = _mean_over_views(network, images[unsure], how, logits[unsure])
    return logits


def margins(logits: Logits) -> Tensor:
    """Return how far the largest probability is above the second, float32 [n], in 0 to 1."""
    first, second = logits.float().softmax(dim=1).topk(2, dim=1).values.unbind(dim=1)
    return first - second


def _mean_over_views(
    network: Callable[[UnitImages], Logits], images: UnitImages, how: Views, single: Logits | None
) -> Logits:
    def logits_of(view: UnitImages) -> Logits:
        return single if single is not None and view is images else network(view)

    weighted = (weight * logits_of(view).float() for weight, view in views_of(images, how))
    return sum(weighted, start=next(weighted))
