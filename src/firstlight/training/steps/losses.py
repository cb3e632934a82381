"""The losses of one training batch."""

from __future__ import annotations

from typing import NamedTuple

from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional as F


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
        labels: Int64[Tensor, " n"],
        label_smoothing: float,
        class_weights: Float[Tensor, " k"] | None = None,
    ) -> Losses:
        """Compute the losses of float32 logits; `class_weights` weight each image by its class."""
        smoothed = F.cross_entropy(logits, labels, label_smoothing=label_smoothing, reduction="none")
        if class_weights is not None:
            smoothed = smoothed * class_weights[labels]
        plain = F.cross_entropy(logits.detach(), labels, reduction="none")
        is_correct = logits.detach().argmax(dim=1) == labels
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
