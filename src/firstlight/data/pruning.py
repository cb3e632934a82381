"""Dynamic data pruning: epochs that consist of the images whose loss was largest when they were last seen."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor


class LastLosses:
    """The loss of every image in the last epoch in which it was seen; infinite before.

    If an image is seen several times in an epoch, its loss is the mean. The losses of an epoch are used from the next
    epoch on, so that the selection for an epoch depends only on earlier epochs. Raju et al. 2021, arXiv 2111.12621,
    select for whole epochs in this way; Jiang et al. 2019, arXiv 1910.00762, select the largest losses of every batch.

    Args:
        num_images: Number of images in the set.

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

    def add(self, indices: Int64[Tensor, " n"], losses: Float[Tensor, " n"]) -> None:
        """Add the losses of images, given by their indices in the set."""
        if self._sums.device != losses.device:
            self._losses, self._sums, self._counts = (
                tensor.to(losses.device) for tensor in (self._losses, self._sums, self._counts)
            )
        self._sums.index_add_(0, indices, losses.to(self._sums.dtype))
        self._counts.index_add_(0, indices, torch.ones_like(losses, dtype=self._counts.dtype))

    def end_epoch(self) -> None:
        """Replace the losses of the images that were seen; in distributed training all processes must call this."""
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.all_reduce(self._sums)
            torch.distributed.all_reduce(self._counts)
        self._losses = torch.where(self._counts > 0, self._sums / self._counts, self._losses)
        self._sums.zero_()
        self._counts.zero_()

    def hardest(self, count: int) -> Int64[Tensor, " count"]:
        """Return the indices of the images with the largest losses, in ascending order, on the CPU."""
        order = self._losses.argsort(descending=True, stable=True)
        return order[:count].sort().values.cpu()

    def state_dict(self) -> dict[str, Any]:
        """Return the losses, and the sums and counts of the current epoch."""
        tensors = {"losses": self._losses, "sums": self._sums, "counts": self._counts}
        return {name: tensor.cpu().clone() for name, tensor in tensors.items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state."""
        self._losses, self._sums, self._counts = (state[name].clone() for name in ("losses", "sums", "counts"))
