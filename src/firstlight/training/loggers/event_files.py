"""Cut the event files of TensorBoard back to a checkpoint when a run is resumed.

TensorBoard's own mechanism, `purge_step`, hides events with a higher step number. It does not suit histograms and
images, which count epochs, and other readers of the files ignore it. So the files are truncated to the length that they
had at the checkpoint.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

PATTERN = "events.out.tfevents.*"


def event_sizes(folder: Path) -> dict[str, int]:
    """Return the size in bytes of every event file in a run folder."""
    return {path.name: path.stat().st_size for path in sorted(folder.glob(PATTERN))}


def cut_event_files(folder: Path, sizes: dict[str, int]) -> None:
    """Truncate the event files to the given sizes; remove files that are not listed.

    Symbolic links are left alone: in the run folder of a stranger one may lead to any file of the user.
    """
    for path in folder.glob(PATTERN):
        if not stat.S_ISREG(path.lstat().st_mode):
            continue
        if path.name not in sizes:
            path.unlink()
        elif path.stat().st_size > sizes[path.name]:
            os.truncate(path, sizes[path.name])
