"""Where data sets and runs are kept unless the user says otherwise."""

from __future__ import annotations

import os
from pathlib import Path

DEFAULT_DATA_DIR = "data"
DEFAULT_LOGS_DIR = "logs"
CACHE = "FIRSTLIGHT_CACHE"  # environment variable: the folder for what can be made again at any time


def cache_dir() -> Path:
    """Return `$FIRSTLIGHT_CACHE`, else `firstlight` in the user's cache folder (`$XDG_CACHE_HOME` or `~/.cache`)."""
    named = os.environ.get(CACHE)
    if named:
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()) / "firstlight"
