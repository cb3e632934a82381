"""Dynamic data pruning: an epoch is made of the images whose loss was largest when they were last seen."""

from __future__ import annotations

from typing import ClassVar

import torch  # noqa: F401  # for the doctest
from jaxtyping import Int64
from torch import Tensor

from firstlight.data.last_means import LastMeans


class LastLosses(LastMeans):
    """The loss of every image in the last epoch in which it was seen; infinite until then.

    Of an image that comes several times in an epoch, the mean counts. (Jiang et al. 2019, "Accelerating Deep Learning
    by Focusing on the Biggest Losers", arXiv 1910.00762, trains on the largest losses of every batch; Raju et al. 2021,
    arXiv 2111.12621, chooses for whole epochs, as here.)

    Args:
        num_images: in the set.

    >>> losses = LastLosses(3)
    >>> losses.add(torch.tensor([0, 1, 1]), torch.tensor([1.0, 2.0, 4.0]))
    >>> losses.end_epoch()
    >>> losses.hardest(2).tolist()  # image 2 was never seen
    [1, 2]
    """

    kept_as: ClassVar[str] = "losses"

    def __init__(self, num_images: int) -> None:
        super().__init__(num_images)

    def hardest(self, count: int) -> Int64[Tensor, " count"]:
        """Return the places of the images with the largest losses, in the order of the set, on the CPU."""
        order = self.means.cpu().argsort(descending=True, stable=True)
        return order[:count].sort().values
