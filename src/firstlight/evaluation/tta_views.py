"""Test-time augmentation: logits averaged over several views of each image."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from firstlight.arrays import Logits, UnitImages
from firstlight.data.batches import to_unit
from firstlight.data.mapped_images import StoredImages
from firstlight.evaluation.view_names import Views

BATCH_SIZE = 64  # larger batches are not faster on a CPU, because their activations do not fit into the cache
# Share of images whose margin is at most m, divided by m, at an accuracy of 94 % (`benchmarks/views.py`).
UNSURE_PER_MARGIN = 0.4


class View(NamedTuple):
    """A shift and a reflection of an image.

    Attributes:
        weight: Weight of the view's logits in the mean.
        down_px: Shift downwards, with reflected borders; negative is upwards.
        right_px: Shift to the right, with reflected borders; negative is to the left.
        is_mirrored: Whether left and right are swapped after the shift.
    """

    weight: float
    down_px: int = 0
    right_px: int = 0
    is_mirrored: bool = False

    def apply(self, images: UnitImages) -> UnitImages:
        """Return this view of each image, float [n 3 h w]."""
        margin_px = max(abs(self.down_px), abs(self.right_px))
        if margin_px:
            height, width = images.shape[2:]
            top, left = margin_px - self.down_px, margin_px - self.right_px
            padded = F.pad(images, (margin_px,) * 4, mode="reflect")
            images = padded[:, :, top : top + height, left : left + width]
        return images.flip(3) if self.is_mirrored else images


ViewRound = tuple[View, ...]


def _with_mirror_images(shifts_px: Sequence[tuple[int, int]]) -> ViewRound:
    return tuple(View(1.0, *shift_px, is_mirrored) for shift_px in shifts_px for is_mirrored in (False, True))


_DIAGONAL = [(down, right) for down in (-1, 1) for right in (-1, 1)]
_REST_OF_STAR = [(0, -1), (0, 1), (-1, 0), (1, 0)] + [
    (down, right) for down in (-2, 0, 2) for right in (-2, 0, 2) if (down, right) != (0, 0)
]
TTA_VIEWS: dict[Views, tuple[ViewRound, ...]] = {
    "single": ((View(1.0),),),
    "flip": ((View(1.0),), (View(1.0, is_mirrored=True),)),
    "flip_shift": ((View(2.0),), (View(2.0, is_mirrored=True),), _with_mirror_images([(-1, -1), (1, 1)])),
    "flip_star": (
        (View(1.0),),
        (View(1.0, is_mirrored=True),),
        _with_mirror_images(_DIAGONAL),
        _with_mirror_images(_REST_OF_STAR),
    ),
}
"""The rounds of views of each kind, in the order of evaluation; the first round is the unchanged image.

"flip" adds the mirror image. "flip_shift" then adds two views shifted by one pixel along both axes, with half the
weight of the unshifted view, and their mirror images: six views (Jordan 2024, arXiv 2404.00498, section 3.1).
"flip_star" adds the mirror image, then the four diagonal shifts by one pixel, then the other shifts by one and two
pixels in eight directions, each with its mirror image: 34 views.
"""


def averaged_logits(
    network: Callable[[UnitImages], Logits],
    images: UnitImages,
    views: Views,
    single: Logits | None = None,
    margin: float = 1.0,
) -> Logits:
    """Return the weighted mean of the logits over all views, float32 [n k].

    More views rarely change the prediction of a confident network. With a `margin` below 1, a further round is
    evaluated only for images whose two largest probabilities, computed from the mean logits so far, differ by at most
    the margin. With several further rounds the margin shrinks linearly: with three further rounds, the second is for
    images within two thirds of the margin, the third for images within one third.

    Args:
        network: Function from images in [0, 1], float [n 3 h w], to logits, float [n k].
        images: Images in [0, 1], float [n 3 h w].
        views: Kind of views. Views of a round share a forward pass as long as it holds no more images than `images`.
        single: Logits of the unchanged images, if known; saves one forward pass.
        margin: Difference of two probabilities, in [0, 1]; 1 evaluates all views of all images.

    >>> left = lambda images: images[:, 0, 0, :2]  # the two leftmost pixels serve as logits
    >>> averaged_logits(left, torch.tensor([1.0, 0.0, 0.0, 3.0]).expand(1, 3, 1, 4), "flip").tolist()
    [[2.0, 0.0]]
    """
    (unchanged,), *rounds = TTA_VIEWS[views]
    mean = (network(images) if single is None else single).float().clone()
    unsure, weight = torch.arange(len(images), device=images.device), unchanged.weight
    for number, round_views in enumerate(rounds):
        if margin < 1:
            unsure = unsure[margins(mean[unsure]) <= margin * (1 - number / len(rounds))]
            if not len(unsure):
                break
        total = _summed_logits(network, images[unsure] if margin < 1 else images, round_views, max_batch=len(images))
        added = sum(view.weight for view in round_views)
        mean[unsure] = (weight * mean[unsure] + total) / (weight + added)
        weight += added
    return mean


def logits_of(
    network: nn.Module,
    images: StoredImages,
    views: Views = "single",
    single: Logits | None = None,
    margin: float = 1.0,
) -> Logits:
    """Return the logits of raw images, uint8 [n 3 h w], computed in batches, float32 [n k] on the CPU.

    Args:
        network: Network in eval mode, on any device.
        images: Raw pixels, uint8 [n 3 h w], in memory or in a file.
        views: Kind of views; see `averaged_logits`.
        single: Logits of the unchanged images, if known.
        margin: Difference of two probabilities; see `averaged_logits`.
    """
    device = next(network.parameters()).device
    known = [None] * -(-len(images) // BATCH_SIZE) if single is None else single.to(device).split(BATCH_SIZE)
    with torch.inference_mode():
        parts = [
            averaged_logits(network, to_unit(batch.to(device)), views, batch_single, margin).cpu()
            for batch, batch_single in zip(images.split(BATCH_SIZE), known, strict=True)
        ]
    return torch.cat(parts).clone()


def expected_passes(views: Views, margin: float = 1.0) -> float:
    """Return the expected number of forward passes for each image.

    With a `margin` below 1 the number depends on the network. The estimate holds for an accuracy of 94 %, where a share
    of 0.4 m of the images has a margin of at most m (`benchmarks/views.py`).

    >>> expected_passes("flip_shift"), expected_passes("flip_shift", margin=0.5)
    (6.0, 1.6)
    """
    _, *rounds = TTA_VIEWS[views]
    shares = [
        1.0 if margin >= 1 else UNSURE_PER_MARGIN * margin * (1 - number / len(rounds)) for number in range(len(rounds))
    ]
    return 1.0 + sum(share * len(round_views) for share, round_views in zip(shares, rounds, strict=True))


def margins(logits: Logits) -> Tensor:
    """Return the largest probability minus the second largest, float32 [n], in [0, 1]."""
    first, second = logits.float().softmax(dim=1).topk(2, dim=1).values.unbind(dim=1)
    return first - second


def _summed_logits(
    network: Callable[[UnitImages], Logits], images: UnitImages, views: ViewRound, max_batch: int
) -> Logits:
    """Return the weighted sum of the logits over the views, float32 [n k]; views share a pass if they fit."""
    num_together = max(1, max_batch // len(images))
    total = torch.zeros((), device=images.device)
    for first in range(0, len(views), num_together):
        chunk = views[first : first + num_together]
        logits = network(torch.cat([view.apply(images) for view in chunk])).float()
        weights = torch.tensor([view.weight for view in chunk], device=images.device)
        total = total + torch.einsum("v,vnk->nk", weights, logits.unflatten(0, (len(chunk), len(images))))
    return total
