"""Checks that every archive from others must pass: bounded sizes, paths inside the folder, errors of one line."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Protocol, runtime_checkable

from firstlight.errors import DataError

CHUNK_BYTES = 1 << 20


class RefusedError(Exception):
    """The archive is refused; the text says why."""


class Budget:
    """A number of bytes that an archive may unpack to, because an archive of a megabyte can unpack to a petabyte.

    Args:
        max_bytes: Largest number of bytes.
        message: Why the archive is refused if it unpacks to more.
    """

    def __init__(self, max_bytes: int, message: str) -> None:
        self._left, self._message = max_bytes, message

    def spend(self, num_bytes: int) -> None:
        """Count unpacked bytes; raise RefusedError if they are too many."""
        self._left -= num_bytes
        if self._left < 0:
            raise RefusedError(self._message)


@runtime_checkable
class Reader(Protocol):
    """Anything that is read in chunks."""

    def read(self, num_bytes: int, /) -> bytes:
        """Return the next bytes; none at the end."""


class Bounded:
    """A reader of unpacked bytes that counts them against a budget."""

    def __init__(self, content: Reader, budget: Budget) -> None:
        self._content, self._budget = content, budget

    def read(self, num_bytes: int) -> bytes:
        """Return the next bytes; raise RefusedError if the archive is damaged or the budget is spent."""
        try:
            chunk = self._content.read(num_bytes)
        except (OSError, EOFError, zlib.error) as error:
            raise RefusedError("it is cut short or damaged") from error
        self._budget.spend(len(chunk))
        return chunk


@contextmanager
def refusals(path: Path, kind: str) -> Iterator[None]:
    """Convert any error of a malformed archive to a DataError of one line; leave errors of the disk unchanged.

    Args:
        path: Path of the archive.
        kind: Kind of archive, for instance "tar.gz".
    """
    try:
        yield
    except OSError:
        raise
    except RefusedError as error:
        raise DataError(f"{path}: refused: {error}") from error
    except Exception as error:  # tarfile and zipfile raise many types for malformed archives
        detail = escaped(str(error)) or type(error).__name__
        raise DataError(f"{path}: refused: it is not a valid {kind} ({detail})") from error


def path_inside(name: str) -> PurePosixPath:
    r"""Return the path of an entry; raise RefusedError if it is outside the archive's folder.

    >>> path_inside("cat/1.jpg")
    PurePosixPath('cat/1.jpg')
    >>> path_inside("../1.jpg")
    Traceback (most recent call last):
    ...
    firstlight.data.safe_unpacking.RefusedError: ../1.jpg is outside the folder
    """
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or "\0" in name:
        raise RefusedError(f"{escaped(name)} is outside the folder")
    return path


def escaped(text: str) -> str:
    """Return text from an archive escaped and shortened: it may hold line breaks, terminal codes or megabytes."""
    return text[:200].encode("unicode_escape").decode()[:200]
