"""Build the file of decoded images: on all cores, with progress, and resumable after the process was killed.

The pixels are written to a hidden file beside the final one, and a journal has a line for each finished block. The next
process continues after the finished blocks whose pixels still have the recorded digest. When all blocks are there, the
index is appended and the file is renamed.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import numpy as np
from jaxtyping import Int64, UInt64

from firstlight.data.folder.block_pool import Block, DecodedBlock, Target, decoded_blocks
from firstlight.data.folder.image_map import rows_per_block, write_index
from firstlight.data.folder.layout import ImageFile
from firstlight.data.mapped_rows import map_rows
from firstlight.errors import WriteError
from firstlight.files import read_text

MAX_JOURNAL_BYTES = 2**30


@dataclass(frozen=True, eq=False)
class Wanted:
    """The images that the file will have, one in each row.

    Args:
        files: Their files.
        keys: Key of each file, uint64 [n 2].
        old_rows: Row of each image in the older file, int64 [n]; -1 if it must be decoded.
        class_names: Names of the classes.
        settings: Settings of the decoding.
        size_px: Side of the images in pixels.
    """

    files: Sequence[ImageFile]
    keys: UInt64[np.ndarray, "n 2"]
    old_rows: Int64[np.ndarray, " n"]
    class_names: tuple[str, ...]
    settings: str
    size_px: int


def build_map(
    path: Path, wanted: Wanted, num_old: int = 0, on_progress: Callable[[int, int], None] = lambda *_: None
) -> dict[int, str]:
    """Decode images into a file, which replaces an older one, and return why others cannot be read, by row.

    The caller holds a lock. If the process is killed, the next call with the same images continues.

    Args:
        path: Path of the file.
        wanted: The images.
        num_old: Number of rows of the older file at `path`.
        on_progress: Function that is called with the numbers of finished and of all images.

    Raises:
        WriteError: The disk is full, or the folder cannot be written; nothing is left behind.
    """
    partial, journal = (path.with_name(f".{path.stem}.{name}") for name in ("partial", "journal"))
    try:
        if path.is_dir():  # noticed now, not after the decoding
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        done = _finished_blocks(partial, journal, wanted)
        target = Target(partial, wanted.size_px, path if num_old else None, num_old)
        with journal.open("a", encoding="utf-8") as record:
            _decode_rest(target, wanted, done, record, on_progress)
        _finish(path, partial, wanted, done)
    except (OSError, WriteError) as error:
        for each in (partial, journal):
            each.unlink(missing_ok=True)
        reason = error.strerror or error if isinstance(error, OSError) else error
        raise WriteError(f"cannot write {path}: {reason}") from error
    journal.unlink(missing_ok=True)
    return {first + index: reason for first, each in done.items() for index, reason in each.refused.items()}


def _decode_rest(
    target: Target,
    wanted: Wanted,
    done: dict[int, DecodedBlock],
    record: TextIO,
    on_progress: Callable[[int, int], None],
) -> None:
    """Decode the blocks that are not done, and record each."""
    step, num_all = rows_per_block(wanted.size_px), len(wanted.files)
    firsts = [first for first in range(0, num_all, step) if first not in done]
    blocks = [
        Block(first, wanted.files[first : first + step], wanted.old_rows[first : first + step].tolist())
        for first in firsts
    ]
    num_done = num_all - sum(len(block.files) for block in blocks)
    on_progress(num_done, num_all)
    for found in decoded_blocks(blocks, target):
        done[found.first_row] = found
        record.write(json.dumps([found.first_row, found.digest, list(found.refused.items())]) + "\n")
        record.flush()
        num_done += min(step, num_all - found.first_row)
        on_progress(num_done, num_all)


def _finished_blocks(partial: Path, journal: Path, wanted: Wanted) -> dict[int, DecodedBlock]:
    """Return the blocks that a killed process has finished; prepare both files for the others."""
    identity = hashlib.sha256(wanted.settings.encode() + wanted.keys.tobytes()).hexdigest()
    num_bytes = len(wanted.files) * 3 * wanted.size_px**2
    try:
        if not all(_is_own(each) for each in (partial, journal)) or partial.stat().st_size < num_bytes:
            raise ValueError
        os.truncate(partial, num_bytes)  # without the index, after which the process may have been killed
        head, *lines = read_text(journal, MAX_JOURNAL_BYTES).split("\n")[:-1]  # a last line may be cut
        if head != identity:
            raise ValueError
        blocks = [
            DecodedBlock(int(first), str(digest), dict(refused)) for first, digest, refused in map(json.loads, lines)
        ]
        return {block.first_row: block for block in blocks if _has_digest(partial, block, wanted)}
    except (OSError, ValueError, TypeError):
        for each in (partial, journal):
            each.unlink(missing_ok=True)
        descriptor = os.open(partial, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        try:
            _allocate(descriptor, num_bytes)
        finally:
            os.close(descriptor)
        with journal.open("x", encoding="utf-8") as file:
            file.write(identity + "\n")
        return {}


def _is_own(path: Path) -> bool:
    """Return whether a path is a regular file of this user, and no link."""
    status = path.lstat()
    return stat.S_ISREG(status.st_mode) and (not hasattr(os, "geteuid") or status.st_uid == os.geteuid())


def _has_digest(partial: Path, block: DecodedBlock, wanted: Wanted) -> bool:
    size = (wanted.size_px, wanted.size_px)
    rows = map_rows(partial, len(wanted.files), size)[block.first_row :][: rows_per_block(wanted.size_px)]
    return hashlib.sha256(rows.data).hexdigest() == block.digest


def _allocate(descriptor: int, num_bytes: int) -> None:
    """Reserve the space of a file, so that a full disk is noticed before anything is decoded."""
    if num_bytes and hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, num_bytes)
    else:
        os.ftruncate(descriptor, num_bytes)


def _finish(path: Path, partial: Path, wanted: Wanted, done: dict[int, DecodedBlock]) -> None:
    """Append the index, and rename the file."""
    keys = wanted.keys.copy()
    for block in done.values():
        keys[[block.first_row + index for index in block.refused]] = 0
    numbers = {name: number for number, name in enumerate(wanted.class_names)}
    labels = np.array([numbers[file.class_name] for file in wanted.files], dtype=np.int64)
    names = [file.relative_path for file in wanted.files]
    digests = [done[first].digest for first in sorted(done)]
    with partial.open("r+b") as file:
        file.seek(0, os.SEEK_END)
        write_index(file, wanted.settings, keys, labels, wanted.class_names, names, digests)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
