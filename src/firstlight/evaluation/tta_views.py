"""Test-time augmentation: logits averaged over several views of each image."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from firstlight.arrays import Logits, UnitImages

Views = Literal["single", "flip", "flip_shift", "flip_star"]

UNSURE_PER_MARGIN = 0.4


class View(NamedTuple):
    """One way of looking at an image.

    Attributes:
        weight: of its logits.
        down_px: how far it is moved, what comes into view reflected; negative is up.
        right_px: likewise; negative is left.
        is_mirrored: whether left and right are swapped.
    """

    weight: float
    down_px: int = 0
    right_px: int = 0
    is_mirrored: bool = False

    def of(self, images: UnitImages) -> UnitImages:
        """Return the view of each of the images, float [n 3 h w]."""
        reach_px = max(abs(self.down_px), abs(self.right_px))
        if reach_px:
            height, width = images.shape[2:]
            top, left = reach_px - self.down_px, reach_px - self.right_px
            padded = F.pad(images, (reach_px,) * 4, mode="reflect")
            images = padded[:, :, top : top + height, left : left + width]
        return images.flip(3) if self.is_mirrored else images


Round = tuple[View, ...]


def _both_sides(shifts_px: Sequence[tuple[int, int]]) -> Round:
    return tuple(View(1.0, *shift_px, is_mirrored) for shift_px in shifts_px for is_mirrored in (False, True))


_DIAGONAL = [(down, right) for down in (-1, 1) for right in (-1, 1)]
_REST_OF_STAR = [(0, -1), (0, 1), (-1, 0), (1, 0)] + [
    (down, right) for down in (-2, 0, 2) for right in (-2, 0, 2) if (down, right) != (0, 0)
]
ROUNDS: dict[Views, tuple[Round, ...]] = {
    "single": ((View(1.0),),),
    "flip": ((View(1.0),), (View(1.0, is_mirrored=True),)),
    "flip_shift": ((View(2.0),), (View(2.0, is_mirrored=True),), _both_sides([(-1, -1), (1, 1)])),
    "flip_star": ((View(1.0),), (View(1.0, is_mirrored=True),), _both_sides(_DIAGONAL), _both_sides(_REST_OF_STAR)),
}
"""The views of each kind, in the order in which they are looked at; the first round is the image as it is.

"flip" adds the mirror image. "flip_shift" then adds two views moved by one pixel along both axes, with half the weight
of the centred one, and their mirror images: six views (Jordan 2024, arXiv 2404.00498, section 3.1).
"flip_star" adds the mirror image, then shifts by one pixel along both axes, then the rest of one and two pixels in
eight directions, each with its mirror image: 34 views.
"""


def averaged_logits(
    network: Callable[[UnitImages], Logits],
    images: UnitImages,
    how: Views,
    single: Logits | None = None,
    margin: float = 1.0,
) -> Logits:
    """Return the weighted mean of the logits over all views, float32 [n k].

    More views rarely change the answer for an image of which the network is sure. With a `margin` below 1, an image is
    looked at again only while its two largest probabilities, by the mean of what has been seen of it, differ by no more
    than that. Where there are several rounds of views, the margin shrinks by equal steps: of three, the second is for
    images within two thirds of it, the third for those within one third.

    Args:
        network: takes images in [0, 1], float [n 3 h w], and returns logits, float [n k].
        images: likewise.
        how: which views. The views of a round are made together, never more at once than there are images.
        single: the logits of the images as they are, where they are known: saves that pass.
        margin: difference of two probabilities, 0 to 1; 1 gives all views to all images.

    >>> left = lambda images: images[:, 0, 0, :2]  # "logits" that see the left edge only
    >>> averaged_logits(left, torch.tensor([1.0, 0.0, 0.0, 3.0]).expand(1, 3, 1, 4), "flip").tolist()
    [[2.0, 0.0]]
    """
    (as_it_is,), *rounds = ROUNDS[how]
    mean = (network(images) if single is None else single).float().clone()
    unsure, weight = torch.arange(len(images), device=images.device), as_it_is.weight
    for number, views in enumerate(rounds):
        if margin < 1:
            unsure = unsure[margins(mean[unsure]) <= margin * (1 - number / len(rounds))]
            if not len(unsure):
                break
        seen = _summed_logits(network, images[unsure] if margin < 1 else images, views, max_batch=len(images))
        added = sum(view.weight for view in views)
        mean[unsure] = (weight * mean[unsure] + seen) / (weight + added)
        weight += added
    return mean


def expected_passes(how: Views, margin: float = 1.0) -> float:
    """Return how many forward passes an image will take, on average.

    With a `margin` below 1 that depends on the network. Supposed is one that is right 94 times of 100: two fifths of m
    is then the share of images whose margin is at most m (`benchmarks/views.py`).

    >>> expected_passes("flip_shift"), expected_passes("flip_shift", margin=0.5)
    (6.0, 1.6)
    """
    _, *rounds = ROUNDS[how]
    shares = [
        1.0 if margin >= 1 else UNSURE_PER_MARGIN * margin * (1 - number / len(rounds)) for number in range(len(rounds))
    ]
    return 1.0 + sum(share * len(views) for share, views in zip(shares, rounds, strict=True))


def margins(logits: Logits) -> Tensor:
    """Return how far the largest probability is above the second, float32 [n], in 0 to 1."""
    first, second = logits.float().softmax(dim=1).topk(2, dim=1).values.unbind(dim=1)
    return first - second


def _summed_logits(network: Callable[[UnitImages], Logits], images: UnitImages, views: Round, max_batch: int) -> Logits:
    """Return the weighted sum of the logits over the views, float32 [n k]; a few views share a pass if they fit."""
    num_together = max(1, max_batch // len(images))
    total = torch.zeros((), device=images.device)
    for first in range(0, len(views), num_together):
        some = views[first : first + num_together]
        logits = network(torch.cat([view.of(images) for view in some])).float()
        weights = torch.tensor([view.weight for view in some], device=images.device)
        total = total + torch.einsum("v,vnk->nk", weights, logits.unflatten(0, (len(some), len(images))))
    return total
