"""Sweeper: deletes what was uploaded, soon after."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

EVERY_S, AFTER_S = 15.0, 60.0


def sweep(folder: Path, after_s: float) -> None:
    """Delete every entry of a folder that nothing was written to for this long.

    A folder counts as written to when a file was put into it: a picture that is uploaded twice stays for the second.
    """
    deadline_s = time.time() - after_s
    for entry in folder.iterdir():
        try:
            written_s = max(path.stat().st_mtime for path in (entry, *entry.glob("*")))
            if written_s < deadline_s:
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
        except OSError:  # it is being written, or is gone: the next round will see
            continue


@contextmanager
def swept(
    folder: Path, forget: Callable[[], None], every_s: float = EVERY_S, after_s: float = AFTER_S
) -> Iterator[None]:
    """Sweep a folder again and again for the length of the block, then delete it.

    Args:
        folder: where uploads go.
        forget: called after each round, to drop what the server remembers of deleted files.
        every_s: between two rounds.
        after_s: how old an upload may become.
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
