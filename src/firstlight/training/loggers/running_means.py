"""Average training metrics over several steps, so that they need not be logged at every step."""

from __future__ import annotations

from collections.abc import Mapping

import pytorch_lightning as pl
import torch
from torch import Tensor


class RunningMeans:
    """Means of metrics, weighted by the number of images of each step.

    >>> means = RunningMeans()
    >>> means.add({"loss": torch.tensor(1.0)}, 30)
    >>> means.add({"loss": torch.tensor(2.0)}, 10)
    >>> means.take()
    ({'loss': tensor(1.2500)}, 40)
    >>> means.take()
    ({}, 0)
    """

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._count = 0

    def add(self, values: Mapping[str, Tensor], count: int) -> None:
        """Add a step's mean values over `count` images."""
        for name, value in values.items():
            product = value.detach() * count
            earlier = self._sums.get(name)
            self._sums[name] = product if earlier is None else earlier.to(product.device) + product
        self._count += count

    def take(self) -> tuple[dict[str, Tensor], int]:
        """Return the means since the last call and their number of images, and reset them."""
        sums, count = self._sums, self._count
        self._sums, self._count = {}, 0
        return {name: value / count for name, value in sums.items()}, count

    def peek(self) -> dict[str, float]:
        """Return the means since the last call of `take`, without resetting them; empty if there are none."""
        return {name: float(value) / self._count for name, value in self._sums.items()}

    def state(self) -> dict[str, Tensor]:
        """Return the sums and, as "count", the number of images, for a checkpoint."""
        return self._sums | {"count": torch.tensor(self._count)} if self._count else {}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Continue from a state that `state` returned."""
        self._sums = {name: value for name, value in state.items() if name != "count"}
        self._count = int(state["count"]) if state else 0


def is_logged_step(trainer: pl.Trainer | None, batch_idx: int) -> bool:
    """Return whether to log this step: every `log_every_n_steps`, and the first and last of an epoch.

    Logging costs Lightning as much time as the rest of its work in a step.

    Args:
        trainer: Trainer of the step; None logs.
        batch_idx: Index of the batch in its epoch.
    """
    if trainer is None or trainer.is_last_batch or batch_idx == 0:
        return True
    step = trainer.global_step + 1
    every_n_steps: int = trainer.log_every_n_steps  # type: ignore[attr-defined]  # set by Lightning's connector
    return step == trainer.max_steps or (every_n_steps > 0 and step % every_n_steps == 0)
