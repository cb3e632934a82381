"""The losses of one training batch."""

from __future__ import annotations

from typing import NamedTuple

from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional as F


class Losses(NamedTuple):
    """The losses and the accuracy of one training batch.

    Args:
        mean: Mean over the batch of the cross-entropy with smoothed targets, float32.
        accuracy: Share of the images that are classified correctly, float32.
        smoothed: Cross-entropy of each image with its smoothed target, float32 [n].
        plain: Cross-entropy of each image with its label, float32 [n].
    """

    mean: Float[Tensor, ""]
    accuracy: Float[Tensor, ""]
    smoothed: Float[Tensor, " n"]
    plain: Float[Tensor, " n"]

    @staticmethod
    def of(logits: Float[Tensor, "n k"], labels: Int64[Tensor, " n"], label_smoothing: float) -> Losses:
        """Compute the losses of float32 logits."""
        smoothed = F.cross_entropy(logits, labels, label_smoothing=label_smoothing, reduction="none")
        plain = F.cross_entropy(logits.detach(), labels, reduction="none")
        is_correct = logits.detach().argmax(dim=1) == labels
        return Losses(smoothed.mean(), is_correct.float().mean(), smoothed, plain)
