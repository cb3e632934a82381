"""The processes of one training: one process per device."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pytorch_lightning.utilities import rank_zero_only

from firstlight.runs.lock import lock_run


def is_first_process() -> bool:
    """Return whether this process writes the run folder: the only process of a training, or the one of rank 0."""
    return not getattr(rank_zero_only, "rank", 0)


@contextmanager
def training_lock(folder: Path) -> Iterator[None]:
    """Hold the run folder's lock; the first process of a training holds it for all of them.

    Raises:
        RunError: Another training holds the lock, or the folder cannot be written.
    """
    if not is_first_process():
        yield
        return
    with lock_run(folder):
        yield
