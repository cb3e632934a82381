"""Which images make up each batch: shuffled per epoch, sharded over ranks, resumable."""

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
    """Yields the image numbers of one batch after another, for one rank.

    The epoch's order is cut into batches of `batch_size`, and each batch is then dealt out to the
    ranks: how many devices train changes how a batch is sliced, and nothing else. Every image comes once
    an epoch, on one rank. A last batch with fewer images than ranks joins the one before.

    With a `hardest_share` below 1 that holds for the first epoch only. The later ones are as long, but made of the
    hardest images alone: all of these in a new order, then all again in another, until the epoch is full.

    Lightning calls `set_epoch` before each epoch, and keeps `state_dict` in its checkpoints.

    Args:
        num_images: images in the set.
        batch_size: images in a step, over all ranks.
        shuffle: a new order each epoch, or the order of the set.
        seed: of the order.
        rank: which share is yielded.
        num_ranks: how many shares there are.
        hardest_share: share of the images, those whose loss was largest when they were last seen, of which every epoch
            but the first is made.

    Attributes:
        last_losses: how hard every image was, which the training must tell it; None if all images count.

    Raises:
        UsageError: fewer images than ranks, a batch smaller than the ranks.

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
        self._first_batch = 0  # of the next iteration: not 0 only after `load_state_dict`

    def __len__(self) -> int:
        """Batches in a whole epoch, the same on every rank."""
        whole, rest = divmod(self.num_images, self.batch_size)
        return max(1, whole + (rest >= self.num_ranks))

    def __iter__(self) -> Iterator[Int64[Tensor, " m"]]:
        for number, batch in self.upcoming():
            self.next_batch = number + 1
            yield batch

    def upcoming(self) -> list[tuple[int, Int64[Tensor, " m"]]]:
        """Return the epoch's batches that are still to come, each with its number.

        Whoever yields them keeps `next_batch`, one more than the number of the last that was yielded.
        """
        # Only a loaded state is gone on from: an iteration that was broken off, like Lightning's check of the first
        # validation batches before training, must not shorten the next one.
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
        """How often an image can come in one epoch."""
        return -(-self.num_images // self.num_hardest)

    def order(self) -> Int64[Tensor, " n"]:
        """What comes in the current epoch, in its order, the same on every rank.

        An image is its number; where it comes again in the same epoch, plus `num_images` for each time before.
        """
        if not self.shuffle:
            return torch.arange(self.num_images)
        order_of = generator(self.seed, self.epoch, "order")
        if self.last_losses is None or self.epoch == 0:
            return torch.randperm(self.num_images, generator=order_of)
        hardest = self.last_losses.hardest(self.num_hardest)
        rounds = (
            hardest[torch.randperm(len(hardest), generator=order_of)] + number * self.num_images
            for number in range(self.num_rounds)
        )
        return torch.cat(list(rounds))[: self.num_images]

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order is yielded next; what an epoch before it has told of the losses counts now."""
        if epoch != self.epoch:
            if self.last_losses is not None:
                self.last_losses.end_epoch()
            self.epoch, self.next_batch, self._first_batch = epoch, 0, 0

    def state_dict(self) -> dict[str, Any]:
        """Where the sampler stands: the epoch, the next batch, and the losses if they count."""
        losses = {} if self.last_losses is None else {"last_losses": self.last_losses.state_dict()}
        return {"epoch": self.epoch, "next_batch": self.next_batch} | losses

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from where `state_dict` was taken; works for another number of ranks, too."""
        self.epoch, self.next_batch = int(state["epoch"]), int(state["next_batch"])
        self._first_batch = self.next_batch
        if self.last_losses is not None and "last_losses" in state:
            self.last_losses.load_state_dict(state["last_losses"])
