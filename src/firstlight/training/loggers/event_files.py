"""TensorBoard's event files of a run, cut back to a checkpoint when the run is resumed.

TensorBoard's own way, `purge_step`, hides what has a higher step number. But histograms and images count epochs,
not steps, and other readers of the files know nothing of it: so the files are cut to the length that they had.
"""

from __future__ import annotations

import os
from pathlib import Path

PATTERN = "events.out.tfevents.*"


def event_sizes(folder: Path) -> dict[str, int]:
    """Return the size in bytes of every event file in a run folder."""
    return {path.name: path.stat().st_size for path in sorted(folder.glob(PATTERN))}


def cut_event_files(folder: Path, sizes: dict[str, int]) -> None:
    """Cut the event files to the given sizes; remove those that have none."""
    for path in folder.glob(PATTERN):
        if path.name not in sizes:
            path.unlink()
        elif path.stat().st_size > sizes[path.name]:
            os.truncate(path, sizes[path.name])
