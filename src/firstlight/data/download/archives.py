"""Unpack the expected members of a tar.gz archive; ignore or refuse all others."""

from __future__ import annotations

import gzip
import hashlib
import shutil
import tarfile
from pathlib import Path, PurePosixPath

from firstlight.data.download.manifest import Archive
from firstlight.data.safe_unpacking import (
    CHUNK_BYTES,
    Bounded,
    Budget,
    RefusedError,
    escaped,
    path_inside,
    refusals,
)

MAX_ENTRIES = 100
SLACK_BYTES = 1 << 20  # unpacked bytes beyond the members: headers, padding and small files that are not needed
TOO_MANY_BYTES = "it unpacks to more bytes than the official archive"


def unpack(archive: Archive, path: Path, data_dir: Path) -> Path:
    """Unpack the members of an archive into its folder in `data_dir`, which appears whole or not at all.

    Unexpected regular files are skipped. Entries that are not plain files or folders inside the archive's folder are
    refused: links, devices, absolute paths, paths with `..`. Members that are too large, duplicate or missing are
    refused, too. Only one process at a time may unpack into a folder.

    Args:
        archive: Description of the archive.
        path: Path of the tar.gz file.
        data_dir: Folder in which the archive's folder is created.

    Returns:
        The path of the archive's folder.

    Raises:
        DataError: The archive is refused; the message says why in one line.
        OSError: The folder cannot be written.
    """
    folder, temporary = data_dir / archive.folder, data_dir / f".{archive.folder}.unpacking"
    shutil.rmtree(temporary, ignore_errors=True)  # left by a process that was killed
    try:
        temporary.mkdir()
        with refusals(path, "tar.gz"), path.open("rb") as file, gzip.open(file) as content:
            stream = Bounded(content, Budget(archive.unpacked_bytes + SLACK_BYTES, TOO_MANY_BYTES))
            with tarfile.open(fileobj=stream, mode="r|") as tar:  # type: ignore[call-overload]  # it only reads
                _unpack_members(archive, tar, temporary)
            while stream.read(CHUNK_BYTES):  # reads the checksum at the end
                pass
        temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder


def find_difference(archive: Archive, folder: Path) -> str | None:
    """Return the first difference of an unpacked folder from the official one, by the known digests; None if equal."""
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


def _unpack_members(archive: Archive, tar: tarfile.TarFile, target: Path) -> None:
    missing = dict(archive.members)
    for number, entry in enumerate(tar):
        if number >= MAX_ENTRIES:
            raise RefusedError(f"it has more than {MAX_ENTRIES} entries")
        member_path = _checked_member_path(entry, archive.folder)
        if member_path is None or member_path.name not in archive.members or len(member_path.parts) != 2:
            continue
        member = missing.pop(member_path.name, None)
        if member is None:
            raise RefusedError(f"{member_path.name} occurs twice")
        if not 0 <= entry.size <= member.max_bytes:
            raise RefusedError(f"{member_path.name} has {entry.size:,} bytes, more than {member.max_bytes:,}")
        content = tar.extractfile(entry)
        assert content is not None
        with (target / member_path.name).open("xb") as file:
            shutil.copyfileobj(content, file, CHUNK_BYTES)
    if missing:
        raise RefusedError(f"{', '.join(missing)} missing")


def _checked_member_path(entry: tarfile.TarInfo, folder: str) -> PurePosixPath | None:
    """Return the path of a file inside the archive; None for a folder."""
    path = path_inside(entry.name)
    if path.parts[:1] != (folder,):
        raise RefusedError(f"{escaped(entry.name)} is not in {folder}")
    if entry.isdir():
        return None
    if not entry.isreg() or entry.issparse():
        raise RefusedError(f"{escaped(entry.name)} is not a plain file")
    return path
