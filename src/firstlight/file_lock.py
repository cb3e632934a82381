"""A lock in the form of a file, for processes and threads that must not do the same work at once."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

SECONDS_BETWEEN_TRIES = 0.05


@contextmanager
def locked(path: Path, on_wait: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Hold a lock in the form of a file at `path`, which is removed afterwards.

    The operating system releases the lock of a process that dies. On disks without such locks (some network disks),
    `filelock` takes the existence of the file for the lock.

    Args:
        path: Path of the lock file.
        on_wait: Function that is called once if another process holds the lock.

    Raises:
        OSError: The folder does not exist, or cannot be written.
    """
    if not path.parent.is_dir():  # filelock would make it
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
    lock = FileLock(path)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        on_wait()
        lock.acquire(poll_interval=SECONDS_BETWEEN_TRIES)
    try:
        yield
    finally:
        # The file is removed while the lock is held. A waiting process notices this and creates another file.
        with suppress(OSError):
            path.unlink()
        lock.release()
