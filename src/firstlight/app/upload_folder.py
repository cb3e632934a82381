"""Upload folder: a temporary folder that is deleted at the end, or by the next start if this process is killed."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

try:
    import fcntl
except ImportError:  # not a POSIX system
    fcntl = None  # type: ignore[assignment]

PREFIX = "firstlight-app-"
YOUNG_S = 60.0  # a younger folder may be one that another process has not locked yet


@contextmanager
def upload_folder() -> Iterator[Path]:
    """Yield a new temporary folder, after deleting those of processes that were killed.

    The process holds a lock on its folder, which the operating system releases when the process ends.
    """
    delete_leavings(Path(tempfile.gettempdir()))
    folder = Path(tempfile.mkdtemp(prefix=PREFIX))
    descriptor = None
    try:
        descriptor = _locked(folder)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if descriptor is not None:
            os.close(descriptor)


def delete_leavings(parent: Path) -> None:
    """Delete the upload folders of this user that no process holds; on systems without such locks, none."""
    if fcntl is None:
        return
    for folder in parent.glob(f"{PREFIX}*"):
        with suppress(OSError):
            status = folder.lstat()
            if status.st_uid != os.getuid() or time.time() - status.st_mtime < YOUNG_S:
                continue
            descriptor = _locked(folder)
            if descriptor is not None:
                shutil.rmtree(folder, ignore_errors=True)
                os.close(descriptor)


def _locked(folder: Path) -> int | None:
    """Lock a folder and return the descriptor that holds the lock; None if that is not possible.

    Raises:
        OSError: The path is not a folder, or a symbolic link.
    """
    if fcntl is None:
        return None
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # another process holds it, or this disk has no locks
        os.close(descriptor)
        return None
    return descriptor
