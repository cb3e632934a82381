"""Dynamic data pruning: an epoch is made of the images whose loss was largest when they were last seen."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor


class LastLosses:
    """The loss of every image in the last epoch in which it was seen; infinite until then.

    Of an image that comes several times in an epoch, the mean counts. What an epoch adds counts from the next one on,
    so that the choice for an epoch depends on the epochs before it only, not on how far it has come. (Jiang et al.
    2019, "Accelerating Deep Learning by Focusing on the Biggest Losers", arXiv 1910.00762, trains on the largest losses
    of every batch; Raju et al. 2021, arXiv 2111.12621, chooses for whole epochs, as here.)

    Args:
        num_images: in the set.

    >>> losses = LastLosses(3)
    >>> losses.add(torch.tensor([0, 1, 1]), torch.tensor([1.0, 2.0, 4.0]))
    >>> losses.end_epoch()
    >>> losses.hardest(2).tolist()  # image 2 was never seen
    [1, 2]
    """

    def __init__(self, num_images: int) -> None:
        self._losses = torch.full((num_images,), torch.inf)
        self._sums = torch.zeros(num_images)
        self._counts = torch.zeros(num_images)

    def add(self, places: Int64[Tensor, " n"], losses: Float[Tensor, " n"]) -> None:
        """Remember the losses of images, by their places in the set."""
        if self._sums.device != losses.device:
            self._losses, self._sums, self._counts = (
                each.to(losses.device) for each in (self._losses, self._sums, self._counts)
            )
        self._sums.index_add_(0, places, losses.to(self._sums.dtype))
        self._counts.index_add_(0, places, torch.ones_like(losses, dtype=self._counts.dtype))

    def end_epoch(self) -> None:
        """Let what was added count; where several processes train, they all call this, and share what each has seen."""
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.all_reduce(self._sums)
            torch.distributed.all_reduce(self._counts)
        self._losses = torch.where(self._counts > 0, self._sums / self._counts, self._losses)
        self._sums.zero_()
        self._counts.zero_()

    def hardest(self, count: int) -> Int64[Tensor, " count"]:
        """Return the places of the images with the largest losses, in the order of the set, on the CPU."""
        order = self._losses.argsort(descending=True, stable=True)
        return order[:count].sort().values.cpu()

    def state_dict(self) -> dict[str, Any]:
        """All that is remembered."""
        tensors = {"losses": self._losses, "sums": self._sums, "counts": self._counts}
        return {name: tensor.cpu().clone() for name, tensor in tensors.items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there."""
        self._losses, self._sums, self._counts = (state[name].clone() for name in ("losses", "sums", "counts"))
