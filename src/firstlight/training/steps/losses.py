"""The losses of one training batch."""

from __future__ import annotations

from typing import NamedTuple

from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional as F

from firstlight.arrays import Targets


class Losses(NamedTuple):
    """The losses and the accuracy of one training batch.

    Args:
        mean: Mean over the batch of the weighted cross-entropy with smoothed targets, float32.
        accuracy: Share of the images that are classified correctly, float32.
        smoothed: Weighted cross-entropy of each image with its smoothed target, float32 [n].
        plain: Cross-entropy of each image with its label, float32 [n].
    """

    mean: Float[Tensor, ""]
    accuracy: Float[Tensor, ""]
    smoothed: Float[Tensor, " n"]
    plain: Float[Tensor, " n"]

    @staticmethod
    def of(
        logits: Float[Tensor, "n k"],
        labels: Targets,
        label_smoothing: float,
        class_weights: Float[Tensor, " k"] | None = None,
    ) -> Losses:
        """Compute the losses of float32 logits; `class_weights` weight each image by its class.

        A mixed image has a row of targets instead of a label: each class counts by its share, and the image is
        classified correctly if its prediction is the class with the largest share.
        """
        if labels.ndim == 2:
            return _of_targets(logits, labels, label_smoothing, class_weights)
        smoothed = F.cross_entropy(logits, labels, label_smoothing=label_smoothing, reduction="none")
        if class_weights is not None:
            smoothed = smoothed * class_weights[labels]
        plain = F.cross_entropy(logits.detach(), labels, reduction="none")
        is_correct = logits.detach().argmax(dim=1) == labels
        return Losses(smoothed.mean(), is_correct.float().mean(), smoothed, plain)


def smoothed_targets(
    targets: Float[Tensor, "n k"], label_smoothing: float, class_weights: Float[Tensor, " k"] | None = None
) -> Float[Tensor, "n k"]:
    """Return w y (1 - e) + e / k sum(w y), for targets y, class weights w, label smoothing e and k classes.

    >>> import torch
    >>> smoothed_targets(torch.tensor([[0.75, 0.25]]), 0.2)
    tensor([[0.7000, 0.3000]])
    """
    weighted = targets if class_weights is None else targets * class_weights
    return weighted * (1 - label_smoothing) + label_smoothing * weighted.mean(dim=1, keepdim=True)


def _of_targets(
    logits: Float[Tensor, "n k"],
    targets: Float[Tensor, "n k"],
    label_smoothing: float,
    class_weights: Float[Tensor, " k"] | None,
) -> Losses:
    log_probabilities = logits.log_softmax(dim=1)
    smoothed = -(smoothed_targets(targets, label_smoothing, class_weights) * log_probabilities).sum(dim=1)
    plain = -(targets * log_probabilities.detach()).sum(dim=1)
    is_correct = logits.detach().argmax(dim=1) == targets.argmax(dim=1)
    return Losses(smoothed.mean(), is_correct.float().mean(), smoothed, plain)


def balanced_class_weights(labels: Int64[Tensor, " n"], num_classes: int) -> Float[Tensor, " k"]:
    """Return the weight n / (k n_c) of each class, whose mean over all images is 1 (scikit-learn's "balanced").

    Args:
        labels: Labels of all training images.
        num_classes: Number of classes; a class without images gets weight 0.

    >>> import torch
    >>> balanced_class_weights(torch.tensor([0, 0, 0, 1]), 2)
    tensor([0.6667, 2.0000])
    """
    counts = labels.bincount(minlength=num_classes)
    present = counts > 0
    return (present * len(labels) / (present.sum() * counts.clamp(min=1))).float()
