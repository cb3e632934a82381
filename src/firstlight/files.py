"""Write files atomically, so that each is whole or absent; read only regular files of a bounded size."""

from __future__ import annotations

import errno
import os
import re
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from firstlight.errors import WriteError

MAX_TEXT_BYTES = 2**26
MAX_BYTES = 2**34
_TEMPORARY = re.compile(r"\..+-[a-z0-9_]{8}(\.\w+)?")


@contextmanager
def atomic(path: Path | str) -> Iterator[Path]:
    """Yield a temporary path in the same folder; when the block ends without an error, rename the file to `path`.

    If the block raises, `path` is left unchanged and the temporary file is removed. Missing folders are created.

    Raises:
        WriteError: The folder cannot be written, or the disk is full.

    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with atomic(Path(folder) / "a.txt") as temporary:
    ...         _ = temporary.write_text("whole")
    ...     os.listdir(folder)
    ['a.txt']
    """
    path = Path(path)
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and not (path.is_file() or path.is_dir()):  # a rename would remove a device
            raise OSError(errno.EINVAL, "there is something that is not a regular file", str(path))
        handle, name = tempfile.mkstemp(prefix=f".{path.stem}-", suffix=path.suffix, dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        yield temporary
        _flush_to_disk(temporary)
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    except OSError as error:
        reason = error.strerror or error
        raise WriteError(f"cannot write {path}: {reason}. Free space or choose another folder.") from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def write_atomic(path: Path | str, content: str | bytes | memoryview) -> None:
    """Write a file atomically; see `atomic`. Lone surrogates in a text, which UTF-8 cannot hold, become escapes."""
    with atomic(path) as temporary:
        temporary.write_bytes(content.encode(errors="backslashreplace") if isinstance(content, str) else content)


def is_temporary(path: Path) -> bool:
    """Return whether a path is a file that `atomic` may have left when its process was killed.

    Hidden files of the user, symbolic links and folders are not.

    >>> is_temporary(Path(".gitignore"))
    False
    """
    return _TEMPORARY.fullmatch(path.name) is not None and stat.S_ISREG(path.lstat().st_mode)


def regular_file(path: Path | str, max_bytes: int = MAX_BYTES) -> Path:
    """Return the path of a regular file of a bounded size, before a library opens it.

    A FIFO that is opened waits for a writer, perhaps forever, and a link to a device such as /dev/zero has no end.

    Raises:
        OSError: The file is missing, is not a regular file, or is larger.

    >>> regular_file("/dev/null")
    Traceback (most recent call last):
    ...
    OSError: [Errno 22] it is not a regular file: '/dev/null'
    """
    status = os.stat(path)
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "it is not a regular file", str(path))
    if status.st_size > max_bytes:
        raise OSError(errno.EFBIG, f"it has {status.st_size:,} bytes, more than {max_bytes:,}", str(path))
    return Path(path)


def read_bytes(path: Path | str, max_bytes: int = MAX_BYTES) -> bytes:
    """Return the content of a regular file; raises as `regular_file` does."""
    return regular_file(path, max_bytes).read_bytes()


def read_text(path: Path | str, max_bytes: int = MAX_TEXT_BYTES, encoding: str = "utf-8") -> str:
    """Return the text of a regular file; raises as `regular_file` does, and UnicodeDecodeError for other bytes."""
    return regular_file(path, max_bytes).read_text(encoding=encoding)


def _flush_to_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDWR)  # Windows flushes only files that may be written
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
