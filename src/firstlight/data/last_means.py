"""What was last told of every image of a set: the mean over the last epoch in which it was seen."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from jaxtyping import Float, Int64
from torch import Tensor


class LastMeans:
    """The mean of what was told of every image in the last epoch in which it was seen.

    What an epoch adds counts from the next one on, so that it depends on the epochs before it only, not on how far it
    has come.

    Args:
        num_images: in the set.
        shape: of what is told of one image.
        unseen: what holds for an image that was never seen.

    Attributes:
        means: float32 [num_images *shape], on the device of what was last added.

    >>> told = LastMeans(3)
    >>> told.add(torch.tensor([0, 1, 1]), torch.tensor([1.0, 2.0, 4.0]))
    >>> told.end_epoch()
    >>> told.means.tolist()
    [1.0, 3.0, inf]
    """

    kept_as: ClassVar[str] = "means"  # in a checkpoint

    def __init__(self, num_images: int, shape: tuple[int, ...] = (), unseen: float = torch.inf) -> None:
        self.means = torch.full((num_images, *shape), unseen)
        self._sums = torch.zeros(num_images, *shape)
        self._counts = torch.zeros(num_images)

    def add(self, places: Int64[Tensor, " n"], values: Float[Tensor, n * shape]) -> None:
        """Remember what is told of images, by their places in the set."""
        if self._sums.device != values.device:
            self.means, self._sums, self._counts = (
                each.to(values.device) for each in (self.means, self._sums, self._counts)
            )
        self._sums.index_add_(0, places, values.to(self._sums.dtype))
        self._counts.index_add_(0, places, torch.ones(len(places), device=values.device))

    def end_epoch(self) -> None:
        """Let what was added count; where several processes train, they all call this, and share what each has seen."""
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.all_reduce(self._sums)
            torch.distributed.all_reduce(self._counts)
        counts = self._counts.view(-1, *[1] * (self.means.ndim - 1))
        self.means = torch.where(counts > 0, self._sums / counts, self.means)
        self._sums.zero_()
        self._counts.zero_()

    def state_dict(self) -> dict[str, Any]:
        """All that is remembered."""
        tensors = {self.kept_as: self.means, "sums": self._sums, "counts": self._counts}
        return {name: tensor.cpu().clone() for name, tensor in tensors.items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there."""
        self.means, self._sums, self._counts = (state[name].clone() for name in (self.kept_as, "sums", "counts"))
