"""Choose the images of a batch whose gradients are computed: importance by gradient norm."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional as F

from firstlight.arrays import Targets
from firstlight.training.steps.losses import smoothed_targets

IMAGES_PER_SHARE = 2 / 3  # measured for `fast94`: a fraction 2/3 s of the images holds a share s of the gradient norm
# Share of a training. Before it, the network misclassifies most images, and their gradients are of similar size.
SIMILAR_NORMS_UNTIL = 3 / 7


def largest_gradients(
    logits: Float[Tensor, "n k"],
    labels: Targets,
    share: float,
    label_smoothing: float = 0.0,
    class_weights: Float[Tensor, " k"] | None = None,
) -> Float[Tensor, " n"]:
    """Mask the smallest set of images that holds `share` of the gradient norm.

    The norm is that of the gradient at the logits, |softmax(z) - y| with the smoothed target y. It needs no backward
    pass. Ordered by the gradient of the weights, the images would be in nearly the same order. (Katharopoulos and
    Fleuret 2018, "Not All Samples Are Created Equal: Deep Learning with Importance Sampling", arXiv 1803.00942,
    section 3.2, samples images by the same norm.)

    Args:
        logits: Float [n k].
        labels: Classes, int64 [n], or targets of mixed images, float [n k].
        share: Share of the sum of all norms, above 0; 1 keeps every image whose gradient is not zero.
        label_smoothing: Share of the target that is spread over all classes.
        class_weights: Weight of the images of each class; None weights all images by 1.

    Returns:
        1 for the chosen images, 0 for the others, float [n].

    >>> logits = torch.tensor([[9.0, 0.0], [0.0, 0.0], [0.0, 9.0]])
    >>> largest_gradients(logits, torch.tensor([0, 0, 0]), share=0.9)  # right, undecided, wrong
    tensor([0., 1., 1.])
    """
    order, is_chosen = order_by_gradient(gradients_at_logits(logits, labels, label_smoothing, class_weights), share)
    return torch.zeros_like(is_chosen).scatter_(0, order, is_chosen)


def gradients_at_logits(
    logits: Float[Tensor, "n k"],
    labels: Targets,
    label_smoothing: float = 0.0,
    class_weights: Float[Tensor, " k"] | None = None,
) -> Float[Tensor, "n k"]:
    """Return the gradient of each image's weighted cross-entropy at its logits: w (softmax(z) - y), y smoothed.

    For targets, float [n k], it is sum(y) softmax(z) - y with the weighted, smoothed y of `smoothed_targets`.
    """
    if labels.ndim == 2:
        mixed = smoothed_targets(labels, label_smoothing, class_weights)
        return logits.softmax(dim=1) * mixed.sum(dim=1, keepdim=True) - mixed
    num_classes = logits.shape[1]
    target = F.one_hot(labels, num_classes) * (1 - label_smoothing) + label_smoothing / num_classes
    gradients = logits.softmax(dim=1) - target
    return gradients if class_weights is None else gradients * class_weights[labels][:, None]


def order_by_gradient(gradients: Float[Tensor, "n k"], share: float) -> tuple[Int64[Tensor, " n"], Float[Tensor, " n"]]:
    """Sort the images by the norm of their gradients, and mark the smallest set that holds `share` of the sum.

    Args:
        gradients: Gradients at the logits, float [n k].
        share: Share of the sum of all norms.

    Returns:
        The indices of the images, largest norm first, int64 [n]; and, in that order, 1 for each chosen image.
    """
    norms, order = gradients.norm(dim=1).sort(descending=True, stable=True)
    held_by_larger = norms.cumsum(dim=0) - norms
    return order, (held_by_larger < share * norms.sum()).to(norms.dtype)


def expected_image_share(share: float) -> float:
    """Estimate the share of a batch that `largest_gradients` chooses, on average over a training.

    The share depends on the network and the images. The estimate was measured for `fast94` on CIFAR-10: a fraction
    2/3 s of the images held a share s of the gradient norm (docs/LOG.md).

    >>> expected_image_share(0.75), expected_image_share(1.0)
    (0.5, 1.0)
    """
    return 1.0 if share == 1 else IMAGES_PER_SHARE * share


def max_image_share(share: float, progress: float) -> float:
    """Return the largest share of a batch that a captured step may choose; the number of images is part of its shape.

    The images with the largest gradients, a share s of the batch, always hold at least a share s of the gradient norm.
    In the first three sevenths of a training, the gradients are of similar size, and nearly all of these images are
    needed. Later the share from `expected_image_share` is enough.

    Args:
        share: Share of the sum of all norms.
        progress: Share of the training that is done, 0 to 1.

    >>> [round(max_image_share(0.8, progress), 2) for progress in (0.0, 0.5)]
    [0.8, 0.53]
    """
    return share if progress < SIMILAR_NORMS_UNTIL else expected_image_share(share)
