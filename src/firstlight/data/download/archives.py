"""Unpacks what is needed from a tar.gz, whatever else it tries."""

from __future__ import annotations

import gzip
import hashlib
import shutil
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from firstlight.data.download.manifest import Archive
from firstlight.errors import DataError

CHUNK_BYTES = 1 << 20
MAX_ENTRIES = 100
SLACK_BYTES = 1 << 20  # headers, padding, and small files that are not needed


def unpack(archive: Archive, path: Path, data_dir: Path) -> Path:
    """Unpack the members of an archive into its folder in `data_dir`, which appears whole or not at all.

    Regular files that are not expected are passed over. All else that is not a plain file or folder inside the
    archive's folder is refused: links, devices, absolute paths, paths with `..`; so are members that are larger
    than they should be, come twice or are missing. At most one process may unpack into the same place.

    Args:
        archive: what to expect.
        path: of the tar.gz file.
        data_dir: where the folder goes.

    Returns:
        The folder.

    Raises:
        DataError: the archive is refused; says why in one line.
        OSError: the folder cannot be written.
    """
    folder, temporary = data_dir / archive.folder, data_dir / f".{archive.folder}.unpacking"
    shutil.rmtree(temporary, ignore_errors=True)  # of a process that was killed
    try:
        temporary.mkdir()
        with _refusals(path), path.open("rb") as file, gzip.open(file) as content:
            stream = _Bounded(content, archive.unpacked_bytes + SLACK_BYTES)
            with tarfile.open(fileobj=stream, mode="r|") as tar:  # type: ignore[call-overload]  # it only reads
                _unpack_members(archive, tar, temporary)
            while stream.read(CHUNK_BYTES):  # the checksum stands at the end
                pass
        temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder


def find_difference(archive: Archive, folder: Path) -> str | None:
    """Say how an unpacked folder differs from the official one, as far as that is known; None if it does not."""
    for name, member in archive.members.items():
        try:
            if not (folder / name).is_file():
                return f"{name} is missing"
            if member.sha256 is not None and sha256_of(folder / name) != member.sha256:
                return f"{name} is not the official file"
            if member.md5 is not None and _digest(folder / name, "md5") != member.md5:
                return f"{name} is not the official file"
        except OSError as error:
            return f"{name} cannot be read ({error.strerror})"
    return None


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file."""
    return _digest(path, "sha256")


def _digest(path: Path, algorithm: str) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.new(algorithm, usedforsecurity=False)).hexdigest()


class _RefusedError(Exception):
    """The archive is not what it should be; the text says why."""


class _Bounded:
    """The unpacked stream, up to a bound: an archive of a megabyte can hold a petabyte."""

    def __init__(self, content: gzip.GzipFile, max_bytes: int) -> None:
        self._content, self._left = content, max_bytes

    def read(self, num_bytes: int) -> bytes:
        try:
            chunk = self._content.read(num_bytes)
        except (OSError, EOFError, zlib.error) as error:
            raise _RefusedError("it is cut short or damaged") from error
        self._left -= len(chunk)
        if self._left < 0:
            raise _RefusedError("it unpacks to more than it should")
        return chunk


@contextmanager
def _refusals(path: Path) -> Iterator[None]:
    """Turn whatever a malformed archive causes into one line; leave errors of the disk as they are."""
    try:
        yield
    except OSError:
        raise
    except _RefusedError as error:
        raise DataError(f"{path}: refused: {error}") from error
    except Exception as error:  # a malformed tar can fail in any way; all of them mean the same
        detail = _shown(str(error)) or type(error).__name__
        raise DataError(f"{path}: refused: it is no sound tar.gz ({detail})") from error


def _unpack_members(archive: Archive, tar: tarfile.TarFile, target: Path) -> None:
    missing = dict(archive.members)
    for number, entry in enumerate(tar):
        if number >= MAX_ENTRIES:
            raise _RefusedError(f"it has more than {MAX_ENTRIES} entries")
        place = _checked_place(entry, archive.folder)
        if place is None or place.name not in archive.members or len(place.parts) != 2:
            continue
        member = missing.pop(place.name, None)
        if member is None:
            raise _RefusedError(f"{place.name} comes twice")
        if not 0 <= entry.size <= member.max_bytes:
            raise _RefusedError(f"{place.name} has {entry.size:,} bytes, more than {member.max_bytes:,}")
        content = tar.extractfile(entry)
        assert content is not None
        with (target / place.name).open("xb") as file:
            shutil.copyfileobj(content, file, CHUNK_BYTES)
    if missing:
        raise _RefusedError(f"{', '.join(missing)} missing")


def _checked_place(entry: tarfile.TarInfo, folder: str) -> PurePosixPath | None:
    """Return where a file stands in the archive; None for a folder."""
    place = PurePosixPath(entry.name)
    if place.is_absolute() or ".." in place.parts or "\\" in entry.name or "\0" in entry.name:
        raise _RefusedError(f"{_shown(entry.name)} leads out of the folder")
    if place.parts[:1] != (folder,):
        raise _RefusedError(f"{_shown(entry.name)} is not in {folder}")
    if entry.isdir():
        return None
    if not entry.isreg() or entry.issparse():
        raise _RefusedError(f"{_shown(entry.name)} is not a plain file")
    return place


def _shown(text: str) -> str:
    """What an archive says may hold line breaks, terminal codes or megabytes."""
    return text.encode("unicode_escape").decode()[:200]
