"""A lock in the form of a file, for processes and threads that must not do the same work at once."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

try:
    import fcntl
except ImportError:  # not a POSIX system
    fcntl = None  # type: ignore[assignment]


@contextmanager
def locked(path: Path, on_wait: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Hold a lock in the form of a file at `path`, which is removed afterwards.

    The operating system releases the lock of a process that dies, so a lock is never stale. On systems without such
    locks (Windows, some network disks), nothing is locked.

    Args:
        path: Path of the lock file.
        on_wait: Function that is called once if another process holds the lock.

    Raises:
        OSError: The folder cannot be written.
    """
    descriptor = _acquire(path, on_wait)
    try:
        yield
    finally:
        # The file is removed while the lock is held. A waiting process notices this and creates another file.
        with suppress(OSError):
            path.unlink()
        os.close(descriptor)


def _acquire(path: Path, on_wait: Callable[[], None]) -> int:
    has_waited = False
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            if fcntl is None:
                return descriptor
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if not has_waited:
                    on_wait()
                has_waited = True
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            except OSError:  # this disk has no locks
                return descriptor
            if _is_still_at(path, descriptor):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _is_still_at(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False
