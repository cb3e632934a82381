"""Decode blocks of images on all cores: in threads if there are few images, in processes of their own otherwise."""

from __future__ import annotations

import hashlib
import json
import os
import queue
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from firstlight.data.decoder import FILE_BUDGET, SOURCES
from firstlight.data.decoding import TOO_COSTLY
from firstlight.data.folder.decode_files import content_of, decode_files
from firstlight.data.folder.layout import ImageFile
from firstlight.data.folder.pixel_blocks import BlockRow, write_block
from firstlight.data.free_memory import free_memory_bytes
from firstlight.data.mapped_rows import map_rows
from firstlight.errors import DataError, WriteError

MIN_FOR_PROCESSES = 2000  # images from which starting processes pays
MIN_BYTES_FOR_PROCESSES = 10**8  # of image files
PROCESS_BYTES = 2 * FILE_BUDGET.memory_bytes  # of a process and the one that decodes its large pictures


@dataclass(frozen=True)
class Block:
    """Images that are decoded into consecutive rows of a file.

    Args:
        first_row: Row of the first image.
        files: The images.
        old_rows: Row of each image in the older file; -1 if it must be decoded.
    """

    first_row: int
    files: Sequence[ImageFile]
    old_rows: Sequence[int]


@dataclass(frozen=True)
class DecodedBlock:
    """A block that is in the file: its first row, its SHA-256, and why files cannot be read, by index in the block."""

    first_row: int
    digest: str
    refused: dict[int, str]


@dataclass(frozen=True)
class Target:
    """The file that is written.

    Args:
        path: Path of the file, which exists.
        size_px: Side of the images in pixels.
        old_path: Older file of decoded images; None for none.
        num_old: Number of its rows.
    """

    path: Path
    size_px: int
    old_path: Path | None = None
    num_old: int = 0


def decoded_blocks(blocks: Sequence[Block], target: Target) -> Iterator[DecodedBlock]:
    """Decode blocks into a file, and yield each when it is written; the order is arbitrary.

    Raises:
        WriteError: The disk is full.
    """
    num_workers = max(1, min(num_cores(), len(blocks), free_memory_bytes() // PROCESS_BYTES))
    if num_workers == 1 or not _pays(blocks):
        yield from _in_threads(blocks, target)
        return
    pool = _ProcessPool(num_workers)
    try:
        yield from _as_completed(lambda block: pool.decode(block, target), blocks, num_workers)
    finally:
        pool.close()


def _pays(blocks: Sequence[Block]) -> bool:
    """Return whether decoding takes much longer than starting processes."""
    missing = [file for block in blocks for file, row in zip(block.files, block.old_rows, strict=True) if row < 0]
    return len(missing) >= MIN_FOR_PROCESSES or sum(file.size_bytes for file in missing) >= MIN_BYTES_FOR_PROCESSES


def num_cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def rows_of(block: Block) -> list[BlockRow]:
    """Return where the pixels of each row come from."""
    pairs = zip(block.files, block.old_rows, strict=True)
    return [BlockRow(str(file.path), old_row, file.read is not None and old_row < 0) for file, old_row in pairs]


def _in_threads(blocks: Sequence[Block], target: Target) -> Iterator[DecodedBlock]:
    """Decode one block after the other, each by several threads."""
    size = (target.size_px, target.size_px)
    old = None if target.old_path is None else map_rows(target.old_path, target.num_old, size)
    for block in blocks:
        pixels, refused = decode_by_threads(block, target.size_px, old)
        try:
            digest = write_block(target.path, block.first_row * pixels[:1].nbytes, pixels)
        except OSError as error:
            raise WriteError(error.strerror or str(error)) from error
        yield DecodedBlock(block.first_row, digest, refused)


def decode_by_threads(
    block: Block, size_px: int, old: UInt8[np.ndarray, "_ h w 3"] | None = None
) -> tuple[UInt8[np.ndarray, "m h w 3"], dict[int, str]]:
    """Return the pixels of a block, uint8 [m h w 3], and for each row that cannot be read why; see `decode_block`."""
    pixels = np.zeros((len(block.files), size_px, size_px, 3), dtype=np.uint8)
    missing = [index for index, row in enumerate(block.old_rows) if row < 0 or old is None]
    refused: dict[int, str] = {}
    for index, found in zip(missing, decode_files([block.files[index] for index in missing], size_px), strict=True):
        if isinstance(found, str):
            refused[index] = found
        else:
            pixels[index] = found.permute(1, 2, 0).numpy()
    for index, row in enumerate(block.old_rows):
        if row >= 0 and old is not None:
            pixels[index] = old[row]
    return pixels, refused


def _as_completed(function: Any, blocks: Sequence[Block], num_threads: int) -> Iterator[DecodedBlock]:
    """Call a function on all blocks by threads, at most two blocks ahead of each, and yield what it returns."""
    with ThreadPoolExecutor(num_threads) as pool:
        pending: set[Future[DecodedBlock]] = set()
        try:
            for block in blocks:
                pending.add(pool.submit(function, block))
                if len(pending) >= 2 * num_threads:
                    done, pending = wait(pending, return_when=FIRST_COMPLETED)
                    yield from (each.result() for each in done)
            while pending:
                done, pending = wait(pending, return_when=FIRST_COMPLETED)
                yield from (each.result() for each in done)
        finally:
            for each in pending:
                each.cancel()


class _ProcessPool:
    """Processes that decode blocks; one that a picture has ended is replaced, and the picture is refused."""

    def __init__(self, num_processes: int) -> None:
        self._idle: queue.LifoQueue[subprocess.Popen[bytes] | None] = queue.LifoQueue()
        for _ in range(num_processes):
            self._idle.put(None)
        self._size = num_processes

    def decode(self, block: Block, target: Target) -> DecodedBlock:
        """Have a block decoded; one image at a time if its process ends."""
        answer = self._ask(block, target)
        if answer is not None:
            return DecodedBlock(block.first_row, answer["sha256"], dict(answer["refused"]))
        refused = {}
        for index in range(len(block.files)):
            single = replace(block, files=block.files[index : index + 1], old_rows=block.old_rows[index : index + 1])
            found = self._ask(replace(single, first_row=block.first_row + index), target)
            reasons = {0: TOO_COSTLY} if found is None else dict(found["refused"])
            if reasons:
                refused[index] = reasons[0]
        size = (target.size_px, target.size_px)
        written = map_rows(target.path, block.first_row + len(block.files), size)[block.first_row :]
        return DecodedBlock(block.first_row, hashlib.sha256(written.data).hexdigest(), refused)

    def close(self) -> None:
        """End the processes."""
        for _ in range(self._size):
            process = self._idle.get()
            if process is not None:
                process.kill()
                process.communicate()

    def _ask(self, block: Block, target: Target) -> dict[str, Any] | None:
        """Send a block to an idle process and return its answer; None if the process has ended.

        Raises:
            WriteError: The disk is full.
        """
        process = self._idle.get()
        try:
            if process is None or process.poll() is not None:
                process = _start()
            answer = _exchange(process, block, target)
        except (OSError, ValueError):  # a broken pipe, or the end of the answers
            answer = None
            if process is not None:
                process.kill()
                process.wait()
        finally:
            self._idle.put(process)
        if answer is not None and "error" in answer:
            raise WriteError(str(answer["error"]))
        return answer


def _start() -> subprocess.Popen[bytes]:
    # A session of its own keeps Ctrl-C from it; it ends when this process does, with its standard input.
    paths = os.pathsep.join(filter(None, (SOURCES, os.environ.get("PYTHONPATH"))))
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "firstlight.data.folder.block_process"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1"},
        start_new_session=True,
    )


def _exchange(process: subprocess.Popen[bytes], block: Block, target: Target) -> dict[str, Any]:
    """Send a block, with the contents of images one at a time, and return the answer."""
    assert process.stdin is not None
    assert process.stdout is not None
    rows = rows_of(block)
    old = None if target.old_path is None else {"path": str(target.old_path), "num_rows": target.num_old}
    offset = block.first_row * 3 * target.size_px**2
    request = {"rows": rows, "old": old, "path": str(target.path), "offset": offset, "size_px": target.size_px}
    process.stdin.write(json.dumps(request).encode() + b"\n")
    for file, row in zip(block.files, rows, strict=True):
        if row.has_content:
            process.stdin.write(_message(file))
    process.stdin.flush()
    return json.loads(process.stdout.readline())


def _message(file: ImageFile) -> bytes:
    try:
        content = content_of(file)
    except DataError as error:  # an image that is no file of its own
        return json.dumps({"error": str(error)}).encode() + b"\n"
    return json.dumps({"num_bytes": len(content)}).encode() + b"\n" + content
