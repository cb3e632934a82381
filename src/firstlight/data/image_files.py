"""Find image files in folders, with the same rules for training and for prediction."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from firstlight.errors import DataError

SUFFIXES = frozenset(
    (".png", ".jpg", ".jpeg", ".jfif", ".webp", ".avif", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm")
)
UNSUPPORTED_SUFFIXES = frozenset((".heic", ".heif", ".jxl", ".cr2", ".cr3", ".nef", ".arw", ".dng"))
SYSTEM_FOLDERS = frozenset(("__macosx", "@eadir", "$recycle.bin", "system volume information", "lost+found"))


class ImageEntry(NamedTuple):
    """An image file in a folder.

    Args:
        path: Path of the file.
        status: Result of `os.stat`; None if the file cannot be read.
        refusal: Why the file cannot be read, if this is known without opening it; otherwise None.
    """

    path: Path
    status: os.stat_result | None
    refusal: str | None = None


def visible_entries(folder: Path) -> list[Path]:
    """Return the files and folders in a folder, sorted by name, without hidden ones and without system folders.

    Names that begin with a dot are hidden: `._photo.jpg` (macOS), `.ipynb_checkpoints` (Jupyter). `SYSTEM_FOLDERS` are
    folders that archives, network disks and operating systems add, for instance `__MACOSX`.

    Raises:
        DataError: The folder cannot be listed.
    """
    try:
        names = os.listdir(folder)
    except OSError as error:
        raise DataError(f"{folder}: cannot be listed ({error.strerror})") from error
    return [folder / name for name in sorted(names) if not is_hidden(name)]


def image_files_below(folder: Path, max_entries: int | None = None) -> Iterator[ImageEntry]:
    """Yield the image files in a folder and its subfolders, chosen by their suffixes.

    Symbolic links are followed, but a folder that was visited before, or that contains this one, is not entered.
    A subfolder that cannot be listed is yielded with its refusal.

    Args:
        folder: Folder in which to start.
        max_entries: Largest number of files and folders to look at; None for all.

    Raises:
        DataError: The folder cannot be listed.
    """
    visited = _ancestors(folder)
    pending, num_entries = [folder], 0
    while pending and (max_entries is None or num_entries < max_entries):
        current = pending.pop()
        try:
            identity = _identity(current)
            entries = [] if identity in visited else visible_entries(current)
            visited.add(identity)
        except (DataError, OSError) as error:
            if current == folder:
                raise DataError(f"{folder}: cannot be listed ({_reason(error)})") from error
            yield ImageEntry(current, None, f"cannot be listed ({_reason(error)})")
            continue
        num_entries += len(entries)
        for path in entries:
            suffix = path.suffix.lower()
            is_image = suffix in SUFFIXES or suffix in UNSUPPORTED_SUFFIXES
            try:
                status = path.stat()
            except OSError as error:  # a broken link, for instance
                if is_image:
                    yield ImageEntry(path, None, _reason(error))
                continue
            if stat.S_ISDIR(status.st_mode):
                pending.append(path)
            elif is_image and stat.S_ISREG(status.st_mode):
                yield ImageEntry(path, status, refusal_of(path))


def find_images(paths: Sequence[Path]) -> tuple[list[Path], dict[Path, str]]:
    """Return the named files, and all image files below the named folders, sorted by path within each folder.

    A named file is returned with any suffix.

    Args:
        paths: Files and folders.

    Returns:
        The image files, and the reason for each path that yields no image.
    """
    found: list[Path] = []
    refusals: dict[Path, str] = {}
    for path in paths:
        if path.is_dir():
            try:
                inside = sorted(image_files_below(path))
            except DataError as error:
                refusals[path] = str(error).removeprefix(f"{path}: ")
                continue
            found += [entry.path for entry in inside if entry.refusal is None]
            refusals |= {entry.path: entry.refusal for entry in inside if entry.refusal is not None}
            if not inside:
                refusals[path] = "holds no image file"
        elif path.exists():
            found.append(path)
        else:
            refusals[path] = "no such file or folder"
    return found, refusals


def is_hidden(name: str) -> bool:
    """Return whether a file or folder of this name is skipped: hidden ones and those that systems add."""
    return name.startswith(".") or name.casefold() in SYSTEM_FOLDERS


def refusal_of(path: Path) -> str | None:
    """Return why a file cannot be read if its suffix tells, otherwise None."""
    suffix = path.suffix.lower()
    if suffix not in UNSUPPORTED_SUFFIXES:
        return None
    return f"{suffix[1:].upper()} files are not supported: convert it to JPEG or PNG"


def _ancestors(folder: Path) -> set[tuple[int, int]]:
    """Return the folders that contain this one, by its real path and by the path through links."""
    paths = {*folder.resolve().parents, *Path(os.path.abspath(folder)).parents}
    return {_identity(path) for path in paths}


def _identity(folder: Path) -> tuple[int, int]:
    status = folder.stat()
    return status.st_dev, status.st_ino


def _reason(error: Exception) -> str:
    cause = error if isinstance(error, OSError) else error.__cause__
    return getattr(cause, "strerror", None) or str(error)
