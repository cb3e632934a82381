"""A run folder belongs to one training at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from firstlight.errors import RunError
from firstlight.file_lock import locked

LOCK = ".lock"


@contextmanager
def lock_run(folder: Path) -> Iterator[None]:
    """Hold the run folder's lock, so that no second training writes into it.

    Raises:
        RunError: another training holds the lock, or the folder cannot be written.
    """

    def refuse() -> None:
        raise RunError(f"{folder}: another process is training this run; wait for it, or stop it first")

    with ExitStack() as held:
        try:
            held.enter_context(locked(folder / LOCK, on_wait=refuse))
        except OSError as error:
            raise RunError(f"{folder}: cannot be written ({error.strerror}); a run needs its folder") from error
        yield
