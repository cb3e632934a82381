"""The confusion matrix."""

from __future__ import annotations

import torch
from jaxtyping import Int64
from torch import Tensor

from firstlight.arrays import Labels


def confusion(labels: Labels, predicted: Labels, num_classes: int) -> Int64[Tensor, "k k"]:
    """Return the confusion matrix: counts by true class (row) and predicted class (column), int64 [k k].

    >>> confusion(torch.tensor([0, 0, 1]), torch.tensor([0, 1, 1]), 2).tolist()
    [[1, 1], [0, 1]]
    """
    pairs = labels * num_classes + predicted
    return torch.bincount(pairs, minlength=num_classes**2).reshape(num_classes, num_classes)
