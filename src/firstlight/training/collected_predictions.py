"""Collect what a network predicts in a test, over all batches and processes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from firstlight.evaluation.predictions import Predictions, ordered_by_id


class CollectedPredictions:
    """The rows of a test so far: logits, features, labels and ids."""

    def __init__(self) -> None:
        self._batches: list[tuple[Tensor, Tensor, Tensor, Tensor]] = []

    def clear(self) -> None:
        """Discard all rows."""
        self._batches.clear()

    def add(self, logits: Tensor, features: Tensor, labels: Tensor, ids: Tensor | None = None) -> None:
        """Add the rows of a batch.

        Args:
            logits: Float [n k].
            features: Float [n f].
            labels: Int64 [n].
            ids: Index of each image in its split, int64 [n]; by default the order of the batches.
        """
        if ids is None:
            num_rows = sum(len(batch[2]) for batch in self._batches)
            ids = num_rows + torch.arange(len(labels))
        self._batches.append((logits, features, labels, ids))

    def gather(self, num_processes: int) -> Predictions:
        """Return the rows of all processes in the order of their ids, and discard those of this process."""
        columns = [torch.cat([part.cpu() for part in parts]) for parts in zip(*self._batches, strict=True)]
        self.clear()
        if num_processes > 1:
            shares: list[Any] = [None] * num_processes
            torch.distributed.all_gather_object(shares, columns)
            columns = [torch.cat(parts) for parts in zip(*shares, strict=True)]
        return ordered_by_id(*columns)
