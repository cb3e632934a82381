"""Which images of a step its gradient is made of."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional as F

IMAGES_PER_SHARE = 2 / 3
FIRST_PART = 3 / 7  # of a training


def largest_gradients(
    logits: Float[Tensor, "n k"], labels: Int64[Tensor, " n"], share: float, label_smoothing: float = 0.0
) -> Float[Tensor, " n"]:
    """Return 1 for the images with the largest gradients, as few as hold a share of the whole, 0 for the others.

    An image's gradient is measured by its norm at the logits, |softmax(z) - y|, y the smoothed target: that needs no
    backward pass, and what is behind changes the order little. The whole is the sum of the norms. (Katharopoulos and
    Fleuret 2018, "Not All Samples Are Created Equal: Deep Learning with Importance Sampling", arXiv 1803.00942,
    section 3.2, where it is the bound by which images are drawn.)

    Args:
        logits: float [n k].
        labels: int64 [n].
        share: of the sum of all norms, above 0; 1 takes every image whose gradient is not zero.
        label_smoothing: as the loss has it.

    >>> logits = torch.tensor([[9.0, 0.0], [0.0, 0.0], [0.0, 9.0]])
    >>> largest_gradients(logits, torch.tensor([0, 0, 0]), share=0.9)  # right, undecided, wrong
    tensor([0., 1., 1.])
    """
    order, is_chosen = by_gradient(gradients_at_logits(logits, labels, label_smoothing), share)
    return torch.zeros_like(is_chosen).scatter_(0, order, is_chosen)


def gradients_at_logits(
    logits: Float[Tensor, "n k"], labels: Int64[Tensor, " n"], label_smoothing: float = 0.0
) -> Float[Tensor, "n k"]:
    """Return the gradient of each image's cross-entropy at its logits: softmax(z) - y, y the smoothed target."""
    num_classes = logits.shape[1]
    target = F.one_hot(labels, num_classes) * (1 - label_smoothing) + label_smoothing / num_classes
    return logits.softmax(dim=1) - target


def by_gradient(gradients: Float[Tensor, "n k"], share: float) -> tuple[Int64[Tensor, " n"], Float[Tensor, " n"]]:
    """Return the images in the order of their gradients' norms, the largest first; and 1 for each that is chosen.

    Args:
        gradients: at the logits, float [n k].
        share: see `largest_gradients`.
    """
    norms, order = gradients.norm(dim=1).sort(descending=True, stable=True)
    held_by_larger = norms.cumsum(dim=0) - norms
    return order, (held_by_larger < share * norms.sum()).to(norms.dtype)


def expected_images(share: float) -> float:
    """Return the share of a step's images that `largest_gradients` will choose, on average.

    That depends on the network and the images. Supposed is `fast94` on CIFAR-10, where a share s of the gradient was
    held by two thirds of s of the images (docs/LOG.md, backward passes of half the images).

    >>> expected_images(0.75), expected_images(1.0)
    (0.5, 1.0)
    """
    return 1.0 if share == 1 else IMAGES_PER_SHARE * share


def most_images(share: float, progress: float) -> float:
    """Return the share of a step's images to which `largest_gradients` is held where steps must be alike.

    A share s of the images, those with the largest gradients, always holds s of the sum at least. At first, when all
    images are wrong and none has a much larger gradient than another, it hardly holds more; after three sevenths of a
    training, as many as in `expected_images` are enough.

    Args:
        share: of the sum of all norms.
        progress: share of the training that is behind.

    >>> round(most_images(0.8, progress=0.0), 2), round(most_images(0.8, progress=0.5), 2), most_images(1.0, 0.0)
    (0.8, 0.53, 1.0)
    """
    return share if progress < FIRST_PART else expected_images(share)
