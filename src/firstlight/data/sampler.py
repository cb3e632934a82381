"""The sampler that chooses the images of each batch: shuffled per epoch, sharded over ranks, resumable."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from jaxtyping import Int64
from torch import Tensor

from firstlight.data.pruning import LastLosses
from firstlight.data.rng import generator
from firstlight.errors import UsageError


class EpochSampler:
    """Yields the image indices of each batch, for one rank.

    The epoch's order is cut into batches of `batch_size`, and each batch is divided among the ranks. The number of
    devices therefore changes how a batch is sliced, and nothing else. Every image is visited once per epoch, on one
    rank. A last batch with fewer images than ranks is added to the batch before it.

    With a `hardest_share` below 1, this holds for the first epoch only. Later epochs have the same length, but contain
    only the hardest images: all of them in a new order, then all again in another order, until the epoch is full.

    Lightning calls `set_epoch` before each epoch and stores `state_dict` in its checkpoints.

    Args:
        num_images: Number of images in the set.
        batch_size: Number of images in a step, over all ranks.
        shuffle: Whether each epoch has a new order; otherwise the order is that of the set.
        seed: Seed of the order.
        rank: Rank whose share is yielded.
        num_ranks: Number of ranks.
        hardest_share: Share of the images on which epochs after the first train: those whose loss was largest when
            they were last seen.

    Attributes:
        last_losses: Latest loss of every image, updated by the training; None if no image is left out.

    Raises:
        UsageError: There are fewer images than ranks, or a batch is smaller than the number of ranks.

    >>> sampler = EpochSampler(5, batch_size=4, shuffle=False, seed=0, rank=1, num_ranks=2)
    >>> [batch.tolist() for batch in sampler]
    [[3, 4]]
    """

    def __init__(
        self,
        num_images: int,
        batch_size: int,
        *,
        shuffle: bool,
        seed: int,
        rank: int = 0,
        num_ranks: int = 1,
        hardest_share: float = 1.0,
    ) -> None:
        if batch_size < num_ranks:
            raise UsageError(f"batch_size {batch_size} is less than one image for each of {num_ranks} devices")
        if num_images < num_ranks:
            raise UsageError(f"{num_images} images cannot be shared between {num_ranks} devices: use fewer devices")
        self.num_images = num_images
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.seed = seed
        self.rank = rank
        self.num_ranks = num_ranks
        self.num_hardest = max(1, round(hardest_share * num_images))
        self.last_losses = LastLosses(num_images) if self.num_hardest < num_images else None
        self.epoch = 0
        self.next_batch = 0
        self._first_batch = 0  # first batch of the next iteration; only `load_state_dict` sets another value

    def __len__(self) -> int:
        """Number of batches in a whole epoch, the same on every rank."""
        whole, rest = divmod(self.num_images, self.batch_size)
        return max(1, whole + (rest >= self.num_ranks))

    def __iter__(self) -> Iterator[Int64[Tensor, " m"]]:
        for number, batch in self.upcoming():
            self.next_batch = number + 1
            yield batch

    def upcoming(self) -> list[tuple[int, Int64[Tensor, " m"]]]:
        """Return the remaining batches of the epoch, each with its number.

        The caller sets `next_batch` to one more than the number of the last batch that it has yielded.
        """
        # Resume only from a loaded state: an abandoned iteration, such as Lightning's sanity check of the validation
        # batches before training, must not shorten the next one.
        first, self._first_batch = self._first_batch, 0
        order, upcoming = self.order(), []
        for number in range(first, len(self)):
            start = number * self.batch_size
            is_last = number == len(self) - 1
            batch = order[start:] if is_last else order[start : start + self.batch_size]
            upcoming.append((number, batch.tensor_split(self.num_ranks)[self.rank]))
        return upcoming

    @property
    def num_rounds(self) -> int:
        """Largest number of visits of an image in one epoch."""
        return -(-self.num_images // self.num_hardest)

    def order(self) -> Int64[Tensor, " n"]:
        """Return the visits of the current epoch in order, int64 [n], the same on every rank.

        A visit is the index of the image, plus `num_images` for each earlier visit of this image in the epoch.
        """
        if not self.shuffle:
            return torch.arange(self.num_images)
        order_rng = generator(self.seed, self.epoch, "order")
        if self.last_losses is None or self.epoch == 0:
            return torch.randperm(self.num_images, generator=order_rng)
        hardest = self.last_losses.hardest(self.num_hardest)
        rounds = (
            hardest[torch.randperm(len(hardest), generator=order_rng)] + number * self.num_images
            for number in range(self.num_rounds)
        )
        return torch.cat(list(rounds))[: self.num_images]

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch of the next iteration. A change of the epoch makes the losses of the last one effective."""
        if epoch != self.epoch:
            if self.last_losses is not None:
                self.last_losses.end_epoch()
            self.epoch, self.next_batch, self._first_batch = epoch, 0, 0

    def state_dict(self) -> dict[str, Any]:
        """Return the epoch, the next batch, and the losses if they are used."""
        losses = {} if self.last_losses is None else {"last_losses": self.last_losses.state_dict()}
        return {"epoch": self.epoch, "next_batch": self.next_batch} | losses

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state; the number of ranks may differ."""
        self.epoch, self.next_batch = int(state["epoch"]), int(state["next_batch"])
        self._first_batch = self.next_batch
        if self.last_losses is not None and "last_losses" in state:
            self.last_losses.load_state_dict(state["last_losses"])
