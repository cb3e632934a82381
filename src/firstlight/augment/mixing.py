"""Mixup and CutMix: each image is mixed with another one, and its target is the same mixture of both labels."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from firstlight.arrays import Labels, UnitImages
from firstlight.augment.boxes import Boxes, inside

Shares = Float[Tensor, " n"]  # in [0, 1], one for each image


def mixup(images: UnitImages, others: UnitImages, shares: Shares) -> UnitImages:
    """Average each image with another one: x = s x_i + (1 - s) x_j.

    (Zhang et al. 2018, "mixup: Beyond Empirical Risk Minimization", arXiv 1710.09412, section 2; s is their lambda.)

    Args:
        images: Images in [0, 1], float [n 3 h w].
        others: Image to mix with each of them, float [n 3 h w].
        shares: Share s of the image itself, float [n]; 1 leaves it unchanged.

    >>> black, white = torch.zeros(1, 3, 1, 1), torch.ones(1, 3, 1, 1)
    >>> mixup(black, white, torch.tensor([0.75])).flatten().tolist()
    [0.25, 0.25, 0.25]
    """
    weights = shares[:, None, None, None]
    return images * weights + others * (1 - weights)


def cutmix(images: UnitImages, others: UnitImages, boxes: Boxes) -> UnitImages:
    """Replace a box of each image by the same box of another image.

    (Yun et al. 2019, "CutMix: Regularization Strategy to Train Strong Classifiers with Localizable Features", arXiv
    1905.04899, equation 1.)

    Args:
        images: Images in [0, 1], float [n 3 h w].
        others: Image to cut from for each of them, float [n 3 h w].
        boxes: Box of each image, int64 [n 4]; an empty box leaves it unchanged.

    >>> black, white = torch.zeros(1, 3, 1, 3), torch.ones(1, 3, 1, 3)
    >>> cutmix(black, white, torch.tensor([[0, 1, 1, 3]]))[0, 0].tolist()
    [[0.0, 1.0, 1.0]]
    """
    return torch.where(inside(boxes, (images.shape[2], images.shape[3])), others, images)


def uncovered_share(boxes: Boxes, size_px: tuple[int, int]) -> Shares:
    """Return the share of each image outside of its box: the share of its own label after CutMix.

    >>> uncovered_share(torch.tensor([[0, 1, 1, 3], [0, 0, 0, 0]]), (2, 4)).tolist()
    [0.75, 1.0]
    """
    covered = (boxes[:, 1] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 2])
    return 1 - covered.float() / (size_px[0] * size_px[1])


def soft_targets(labels: Labels, others: Labels, shares: Shares, num_classes: int) -> Float[Tensor, "n k"]:
    """Return the mixed targets y = s y_i + (1 - s) y_j of one-hot labels.

    Args:
        labels: Label of each image, int64 [n].
        others: Label of the image that it is mixed with, int64 [n].
        shares: Share s of the image itself, float [n].
        num_classes: Number of classes k.

    >>> soft_targets(torch.tensor([0]), torch.tensor([2]), torch.tensor([0.75]), 3).tolist()
    [[0.75, 0.0, 0.25]]
    """
    one_hot, other = (F.one_hot(each, num_classes).float() for each in (labels, others))
    return one_hot * shares[:, None] + other * (1 - shares[:, None])


def draw_mixup_shares(alpha: float, count: int, rng: np.random.Generator) -> Shares:
    """Draw the shares of mixup, float [count], from Beta(alpha, alpha)."""
    return torch.from_numpy(rng.beta(alpha, alpha, count)).float()


def draw_cutmix_boxes(alpha: float, count: int, size_px: tuple[int, int], rng: np.random.Generator) -> Boxes:
    """Draw the boxes of CutMix, int64 [count 4].

    A share s from Beta(alpha, alpha) gives a box of height h sqrt(1 - s) and width w sqrt(1 - s) around a pixel that
    is uniformly drawn (section 3.1 of the paper, equation 2). The parts beyond the image are cut off.

    Args:
        alpha: Parameter of the beta distribution.
        count: Number of boxes.
        size_px: Height and width of the images.
        rng: Generator of the random numbers.
    """
    side = np.sqrt(1 - rng.beta(alpha, alpha, count))
    sides = []
    for whole in size_px:
        centre, half = rng.integers(0, whole, count), (whole * side).astype(np.int64) // 2
        sides += [np.clip(centre - half, 0, whole), np.clip(centre + half, 0, whole)]
    return torch.from_numpy(np.stack(sides, axis=1))
