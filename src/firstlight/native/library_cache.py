"""The folder of compiled libraries: private to the user, named by what they depend on, checked before they are loaded.

A library's name is `KERNEL-FINGERPRINT-DIGEST.so`: the digest of its content shows a damaged file.
"""

from __future__ import annotations

import hashlib
import os
import platform
import stat
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from firstlight.errors import WriteError
from firstlight.file_lock import locked
from firstlight.files import atomic
from firstlight.native.compiler import INCLUDE, NoLibraryError
from firstlight.native.cpu import model_and_flags
from firstlight.paths import CACHE, cache_dir

NUM_DIGITS = 16  # of a fingerprint and of a digest
UNUSED_S = 30 * 24 * 3600.0  # a library that was not loaded for so long is removed when another one is made
ABANDONED_S = 3600.0  # a temporary file of a process that was killed


def library_dir() -> Path:
    """Return the folder of compiled libraries, made private: what others put there would run as this user.

    Raises:
        NoLibraryError: The folder belongs to another user, or cannot be written.
    """
    folder = cache_dir() / "compiled"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = folder.lstat()
        if not stat.S_ISDIR(status.st_mode) or not _is_own(status):
            raise NoLibraryError(f"{folder} belongs to another user: name another cache in {CACHE}")
        if hasattr(os, "getuid") and stat.S_IMODE(status.st_mode) != 0o700:
            folder.chmod(0o700)
    except OSError as error:
        raise NoLibraryError(f"{folder} cannot be made ({error.strerror}): name another cache in {CACHE}") from error
    if not os.access(folder, os.W_OK):
        raise NoLibraryError(f"{folder} cannot be written: name another cache in {CACHE}")
    return folder


def find_or_make(folder: Path, name: str, make: Callable[[Path], None]) -> Path:
    """Return the path of a whole library, made by only one process at a time.

    Args:
        folder: Private folder of libraries.
        name: Kernel and fingerprint.
        make: Function that writes the library to a path.

    Raises:
        NoLibraryError: The folder cannot be written.
    """
    found = find(folder, name)
    if found is not None:
        return found
    try:
        with locked(folder / f"{name}.lock"):
            found = find(folder, name)  # another process has made it meanwhile
            return _store(folder, name, make) if found is None else found
    except (OSError, WriteError) as error:
        raise NoLibraryError(f"{folder} cannot be written ({error}): name another cache in {CACHE}") from error


def find(folder: Path, name: str) -> Path | None:
    """Return the path of a library that is this user's regular file and has the content that its name states."""
    for path in folder.glob(f"{name}-*.so"):
        if _is_own_file(path) and path == _path(folder, name, path):
            with suppress(OSError):
                os.utime(path)  # it is in use
            return path
        with suppress(OSError):
            path.unlink()
    return None


def fingerprint(source: Path, command: list[str]) -> str:
    """Return a digest of everything that a library depends on: source, headers, compiler, options and CPU."""
    compiler = Path(command[0]).resolve()
    headers = [each for folder in (source.parent, INCLUDE) for each in sorted(folder.glob("*.hpp"))]
    parts = [
        source.read_bytes(),
        *(each.read_bytes() for each in headers),
        repr(command),
        compiler,
        compiler.stat().st_mtime_ns,
        platform.machine(),
        model_and_flags(),
    ]
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part if isinstance(part, bytes) else str(part).encode())
        digest.update(b"\0")
    return digest.hexdigest()[:NUM_DIGITS]


def _store(folder: Path, name: str, make: Callable[[Path], None]) -> Path:
    _remove_old(folder)
    made = folder / f".{name}-{os.getpid()}.so"
    try:
        make(made)
        path = _path(folder, name, made)
        with atomic(path) as temporary:
            made.replace(temporary)
        return path
    finally:
        made.unlink(missing_ok=True)


def _remove_old(folder: Path) -> None:
    """Remove libraries that nobody has loaded for long, and what killed processes have left."""
    now_s = time.time()
    for path in folder.iterdir():
        limit_s = ABANDONED_S if path.name.startswith(".") else UNUSED_S
        with suppress(OSError):
            if path.suffix in (".so", ".lock") and now_s - path.lstat().st_mtime > limit_s:
                path.unlink()


def _path(folder: Path, name: str, content: Path) -> Path:
    return folder / f"{name}-{hashlib.sha256(content.read_bytes()).hexdigest()[:NUM_DIGITS]}.so"


def _is_own_file(path: Path) -> bool:
    """Return whether a path is a regular file of this user, and no link."""
    try:
        status = path.lstat()
    except OSError:
        return False
    return stat.S_ISREG(status.st_mode) and _is_own(status)


def _is_own(status: os.stat_result) -> bool:
    return not hasattr(os, "getuid") or status.st_uid == os.getuid()
