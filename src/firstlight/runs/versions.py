"""Number the run folders of a recipe: `version_0`, `version_1` and so on."""

from __future__ import annotations

from pathlib import Path

from firstlight.errors import FirstlightError


def new_version(folder: Path) -> Path:
    """Create and return the next free `version_<n>` in a folder; two processes never get the same one.

    Raises:
        FirstlightError: The folder cannot be written.
    """
    number = 0
    while True:
        path = folder / f"version_{number}"
        try:
            path.mkdir(parents=True)
            return path
        except FileExistsError:
            if not path.is_dir():
                break
            number += 1
        except OSError as error:
            raise FirstlightError(f"cannot make {path}: {error.strerror}. Choose another --logs_dir.") from error
    raise FirstlightError(f"cannot make {path}: a file is in the way. Choose another --logs_dir.")
