"""A run folder belongs to one training at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from pytorch_lightning.utilities import rank_zero_only

from firstlight.errors import RunError
from firstlight.file_lock import locked

LOCK = ".lock"


@contextmanager
def only_process(folder: Path) -> Iterator[None]:
    """Hold the run folder's lock; of the processes of one training the first does it for all.

    Raises:
        RunError: another training holds it, or the folder cannot be written.
    """

    def refuse() -> None:
        raise RunError(f"{folder}: another process is training this run; wait for it, or stop it first")

    with ExitStack() as held:
        if is_first_process():
            try:
                held.enter_context(locked(folder / LOCK, on_wait=refuse))
            except OSError as error:
                raise RunError(f"{folder}: cannot be written ({error.strerror}); a run needs its folder") from error
        yield


def is_first_process() -> bool:
    """Whether this is the only process of a training, or the one that writes."""
    return not getattr(rank_zero_only, "rank", 0)
