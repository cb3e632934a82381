"""Unpack a zip or a tar of class folders into the user's cache folder, whole or not at all."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import json
import logging
import os
import shutil
import stat
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from firstlight.data.image_files import SUFFIXES, UNSUPPORTED_SUFFIXES, is_hidden
from firstlight.data.safe_unpacking import (
    CHUNK_BYTES,
    Bounded,
    Budget,
    Reader,
    RefusedError,
    escaped,
    path_inside,
    refusals,
)
from firstlight.errors import DataError
from firstlight.file_lock import locked
from firstlight.files import read_text, regular_file
from firstlight.paths import cache_dir

Entry = tuple[PurePosixPath, Reader]

MAX_ENTRIES = 2_000_000
MAX_BYTES = 2**37
MAX_RATIO = 200  # of unpacked to packed bytes; images hardly shrink, and a bomb grows a thousandfold
ALWAYS_ALLOWED_BYTES = 2**27  # a small archive of simple drawings may shrink more
MAX_HEADER_BYTES = 2**16  # of a long name or of extended headers, which tarfile holds in memory
HEADER_TYPES = (
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
)
ZIP_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2)  # others may ask for gigabytes of memory
ANNOUNCED_BYTES = 2**26  # from here on, unpacking takes seconds
RECORD = "archive.json"  # identifies the archive whose images are in the folder beside it

_log = logging.getLogger("firstlight")


def unpacked(path: Path) -> Path:
    """Return the folder with the images of an archive; unpack them first unless the cache folder has them.

    Only image files are unpacked. An archive is refused if it has a link, a device, a path outside of its folder, a
    file twice, too many files, or if it unpacks to far more bytes than it has. An archive whose size or time has
    changed is unpacked again. If several processes need the images, one unpacks them and the others wait.

    Args:
        path: Path of the archive; its suffix is a key of `KINDS`.

    Raises:
        DataError: The archive is refused, or the cache folder cannot be written; nothing is left behind.
    """
    with _one_line(path):
        status = regular_file(path).stat()
        identity = hashlib.sha256(os.fsencode(path.resolve())).hexdigest()[:16]
        home = cache_dir() / "unpacked" / f"{path.stem[:40]}-{identity}"
        record = json.dumps({"size": status.st_size, "modified_ns": status.st_mtime_ns})
        if _holds(home, record):
            return home / "images"
        home.parent.mkdir(parents=True, exist_ok=True)
        with locked(home.with_name(f"{home.name}.lock"), lambda: _log.info("waiting for another process to unpack")):
            if not _holds(home, record):
                if status.st_size >= ANNOUNCED_BYTES:
                    _log.info(f"unpacking {path}, once")
                _unpack(path, home, record, status)
    return home / "images"


def kind_of(path: Path) -> str | None:
    """Return the kind of archive by its suffix, a key of `KINDS`; None for another file.

    >>> kind_of(Path("photos.TAR.GZ")), kind_of(Path("photos.jpg"))
    ('.tar.gz', None)
    """
    return next((suffix for suffix in KINDS if path.name.lower().endswith(suffix)), None)


def unpacked_path(path: Path) -> Path:
    """Return the folder with the images of an archive, or the path itself if it is no archive; raises as `unpacked`."""
    return unpacked(path) if kind_of(path) and path.is_file() else path


def _holds(home: Path, record: str) -> bool:
    try:
        return read_text(home / RECORD) == record and (home / "images").is_dir()
    except (OSError, UnicodeDecodeError):
        return False


def _unpack(path: Path, home: Path, record: str, status: os.stat_result) -> None:
    temporary = home.with_name(f".{home.name}.unpacking")
    kind = kind_of(path)
    assert kind is not None
    shutil.rmtree(temporary, ignore_errors=True)  # left by a process that was killed
    try:
        (temporary / "images").mkdir(parents=True)
        limit = min(MAX_BYTES, max(ALWAYS_ALLOWED_BYTES, MAX_RATIO * status.st_size))
        budget = Budget(limit, f"it unpacks to more than {limit / 1e6:,.0f} MB, too many for {status.st_size:,} bytes")
        with refusals(path, kind[1:]):
            for entry_path, content in KINDS[kind](path, budget):
                _write(temporary / "images" / entry_path, content, status.st_mtime_ns)
        (temporary / RECORD).write_text(record, encoding="utf-8")
        shutil.rmtree(home, ignore_errors=True)
        temporary.rename(home)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _write(target: Path, content: Reader, modified_ns: int) -> None:
    """Write a file with the time of the archive, so that the cache of decoded images knows it again."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("xb") as file:
            while chunk := content.read(CHUNK_BYTES):
                file.write(chunk)
    except (FileExistsError, NotADirectoryError) as error:
        raise RefusedError(f"{escaped(target.name)} occurs twice, as a file or as a folder") from error
    os.utime(target, ns=(modified_ns, modified_ns))


def _zip_entries(path: Path, budget: Budget) -> Iterator[Entry]:
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        _check_number(len(entries))
        for entry in entries:
            mode = entry.external_attr >> 16
            if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise RefusedError(f"{escaped(entry.filename)} is a link or no plain file")
            entry_path = path_inside(entry.orig_filename)
            if entry.is_dir() or not _is_wanted(entry_path):
                continue
            if entry.flag_bits & 1:
                raise RefusedError("it is encrypted. Unpack it, and name its folder")
            if entry.compress_type not in ZIP_METHODS:
                raise RefusedError("its compression is not supported. Pack it again as an ordinary zip")
            with archive.open(entry) as content:
                yield entry_path, Bounded(content, budget)


def _tar_entries(path: Path, budget: Budget, opener: Callable[[Path], Any]) -> Iterator[Entry]:
    with opener(path) as content:
        stream = Bounded(content, budget)
        with tarfile.open(fileobj=stream, mode="r|", tarinfo=_SmallHeaders) as tar:  # type: ignore[call-overload]
            for number, entry in enumerate(tar):
                _check_number(number + 1)
                tar.members.clear()  # else every entry stays in memory
                entry_path = path_inside(entry.name)
                if entry.isdir():
                    continue
                if not entry.isreg() or entry.issparse():
                    raise RefusedError(f"{escaped(entry.name)} is a link or no plain file")
                if _is_wanted(entry_path):
                    file = tar.extractfile(entry)
                    assert file is not None
                    yield entry_path, file
        while stream.read(CHUNK_BYTES):  # reads the checksum at the end
            pass


class _SmallHeaders(tarfile.TarInfo):
    """Refuses headers that would fill the memory."""

    @classmethod
    def frombuf(cls, buf: Any, encoding: str, errors: str) -> _SmallHeaders:
        """Read a header block; raise RefusedError if a large header follows."""
        found = super().frombuf(buf, encoding, errors)
        if found.type in HEADER_TYPES and found.size > MAX_HEADER_BYTES:
            raise RefusedError(f"a header has {found.size:,} bytes")
        return found


def _is_wanted(path: PurePosixPath) -> bool:
    is_image = path.suffix.lower() in SUFFIXES or path.suffix.lower() in UNSUPPORTED_SUFFIXES
    return is_image and not any(map(is_hidden, path.parts))


def _check_number(num_entries: int) -> None:
    if num_entries > MAX_ENTRIES:
        raise RefusedError(f"it has more than {MAX_ENTRIES:,} entries")


@contextmanager
def _one_line(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, RuntimeError) as error:  # a full disk; or an unknown home folder
        reason = getattr(error, "strerror", None) or error
        raise DataError(
            f"{path}: cannot be unpacked: {reason}. Free space, or name another cache folder in FIRSTLIGHT_CACHE."
        ) from error


KINDS: dict[str, Callable[[Path, Budget], Iterator[Entry]]] = {
    ".zip": _zip_entries,
    ".tar": partial(_tar_entries, opener=partial(open, mode="rb")),
    ".tar.gz": partial(_tar_entries, opener=gzip.open),
    ".tgz": partial(_tar_entries, opener=gzip.open),
    ".tar.bz2": partial(_tar_entries, opener=bz2.open),
}
"""The kinds of archive by their suffixes, each with the function that yields the images."""
