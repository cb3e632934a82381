"""Build a folder under a temporary name, then move its content, so that a failed build leaves nothing behind."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from firstlight.errors import FirstlightError, UsageError


@contextmanager
def whole_folder(target: Path, overwrite: bool = False) -> Iterator[Path]:
    """Yield an empty folder; if the block ends without an error, its content moves to `target`.

    Other entries of `target`, for instance `.git`, are kept. If the block raises, `target` is unchanged.

    Args:
        target: Folder to write; it must be new or empty unless `overwrite` is set.
        overwrite: Whether to replace entries of the same name.

    Raises:
        UsageError: The folder is not empty and `overwrite` is not set, or `target` is a file.
        FirstlightError: The folder cannot be written.

    >>> with tempfile.TemporaryDirectory() as parent:
    ...     with whole_folder(Path(parent) / "new") as folder:
    ...         _ = (folder / "a.txt").write_text("whole")
    ...     [path.name for path in (Path(parent) / "new").iterdir()]
    ['a.txt']
    """
    if target.is_file():
        raise UsageError(f"{target} is a file: name a folder")
    if target.is_dir() and any(target.iterdir()) and not overwrite:
        raise UsageError(f"{target} is not empty: name a new folder, or replace what is in it with --overwrite")
    built: Path | None = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        built = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
        yield built
        target.mkdir(exist_ok=True)
        for entry in sorted(built.iterdir()):
            _replace(entry, target / entry.name)
    except OSError as error:
        reason = error.strerror or error
        raise FirstlightError(f"cannot write {target}: {reason}. Free some space or name another folder.") from error
    finally:
        if built is not None:
            shutil.rmtree(built, ignore_errors=True)


def _replace(entry: Path, target: Path) -> None:
    if target.is_dir() and not target.is_symlink():
        shutil.rmtree(target)
    entry.replace(target)
