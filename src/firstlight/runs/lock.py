"""Lock a run folder, so that only one training writes to it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from firstlight.errors import RunError
from firstlight.file_lock import locked

LOCK = ".lock"


@contextmanager
def lock_run(folder: Path) -> Iterator[None]:
    """Hold the lock of a run folder within the block.

    Raises:
        RunError: Another training holds the lock, or the folder cannot be written.
    """

    def refuse() -> None:
        raise RunError(f"{folder}: another process is training this run; wait for it, or stop it first")

    with ExitStack() as held:
        try:
            held.enter_context(locked(folder / LOCK, on_wait=refuse))
        except OSError as error:
            raise RunError(f"{folder}: cannot be written ({error.strerror}); a run needs its folder") from error
        yield
