"""Sweeper: deletes uploads about a minute after they arrived."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

EVERY_S, AFTER_S = 15.0, 60.0
PARTIAL_S = 20.0  # a file outside of a subfolder is still being written, or the rest of an upload that failed


def sweep(folder: Path, after_s: float) -> None:
    """Delete every entry of a folder that was not written to for `after_s` seconds.

    A file that is written into a subfolder renews the subfolder, because a picture that is uploaded twice must be kept
    for the second upload. A file outside of the subfolders is deleted after `PARTIAL_S` seconds, if that is less.
    """
    now_s = time.time()
    for entry in folder.iterdir():
        try:
            written_s = max(path.stat().st_mtime for path in (entry, *entry.glob("*")))
            if written_s < now_s - (after_s if entry.is_dir() else min(after_s, PARTIAL_S)):
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
        except OSError:  # being written, or deleted already: the next round handles it
            continue


@contextmanager
def swept(
    folder: Path, forget: Callable[[], None], every_s: float = EVERY_S, after_s: float = AFTER_S
) -> Iterator[None]:
    """Sweep a folder repeatedly within the block, then delete it.

    Args:
        folder: Folder of the uploads.
        forget: Function that is called after each round to drop the server's references to deleted files.
        every_s: Seconds between two rounds.
        after_s: Seconds after which an upload is deleted.
    """
    done = threading.Event()

    def rounds() -> None:
        while not done.wait(every_s):
            sweep(folder, after_s)
            forget()

    thread = threading.Thread(target=rounds, name="sweeper", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        shutil.rmtree(folder, ignore_errors=True)
