"""Decode the images of a folder, or take them from the cache."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Int64, UInt8

from firstlight.data.folder.block_pool import Block, decode_by_threads
from firstlight.data.folder.build_map import Wanted, build_map
from firstlight.data.folder.cache import cache_path, keys_of, open_cache, settings
from firstlight.data.folder.decode_files import decode_files
from firstlight.data.folder.layout import ImageFile, Layout
from firstlight.data.free_memory import fits_in_memory
from firstlight.data.row_progress import row_progress
from firstlight.errors import WriteError
from firstlight.file_lock import locked
from firstlight.paths import CACHE, cache_dir, printable

MIN_ANNOUNCED = 200  # number of images from which decoding is announced

_log = logging.getLogger("firstlight")


@dataclass(frozen=True, eq=False)
class DecodedFolder:
    """The decoded images of all splits of a folder.

    Args:
        pixels: Pixels in rows, uint8 [all h w 3], in memory or mapped.
        row_of: Row of each file by its relative path.
        refusals: Why the other files cannot be read, by relative path.
    """

    pixels: UInt8[np.ndarray, "all h w 3"]
    row_of: Mapping[str, int]
    refusals: Mapping[str, str]


def decode(layout: Layout, size_px: int) -> DecodedFolder:
    """Return the decoded images of all splits, from the cache if possible, and why the other files cannot be read.

    If several processes need the images, one decodes them and the others wait. If the cache cannot be written, a
    warning says so, and the images are decoded every time, as long as they fit in memory.

    Raises:
        WriteError: The cache cannot be written, and the images do not fit in memory.
    """
    every = {file.relative_path: file for each in layout.files.values() for file in each}
    files = [file for file in every.values() if file.refusal is None]
    known = {name: file.refusal for name, file in every.items() if file.refusal is not None}
    try:
        path = cache_path(layout.identity, size_px)
        found = _from_cache(path, files, size_px)
        if found is None:
            with _cache_lock(path):
                found = _from_cache(path, files, size_px) or _decode_into(path, layout, files, size_px)
    except (OSError, RuntimeError, WriteError) as error:  # RuntimeError: the home folder is unknown
        reason = str(getattr(error, "strerror", None) or error)
        if not fits_in_memory(len(files) * 3 * size_px**2):
            raise WriteError(
                f"{layout.root}: its decoded images are too many for the memory, and cannot be kept on the disk: "
                f"{reason}. Free space, or name another folder in {CACHE}."
            ) from error
        _warn_of_no_cache(reason)
        found = _decode_in_memory(layout, files, size_px)
    return replace(found, refusals=known | dict(found.refusals))


@contextmanager
def _cache_lock(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with locked(path.with_suffix(".lock"), lambda: _log.info("waiting for another process to decode these images")):
        yield


def _from_cache(path: Path, files: Sequence[ImageFile], size_px: int) -> DecodedFolder | None:
    """Return the cached images; None if another must be decoded. Files that could not be read are tried again."""
    opened = open_cache(path, size_px)
    if opened is None:
        return None
    rows = opened.find(keys_of(files))
    missing = [files[index] for index in (rows < 0).nonzero()[0].tolist()]
    if not {file.relative_path for file in missing} <= opened.refused_names():
        return None
    refused = _refused_in_memory(missing, size_px)
    return None if refused is None else _decoded_folder(opened.pixels, files, rows, refused)


def _decode_into(path: Path, layout: Layout, files: Sequence[ImageFile], size_px: int) -> DecodedFolder:
    """Decode the missing images into the cache, and drop those whose files are gone."""
    before, keys = open_cache(path, size_px), keys_of(files)
    rows = np.full(len(files), -1) if before is None else before.find(keys)
    wanted = Wanted(files, keys, rows, layout.class_names, settings(size_px), size_px)
    _announce(int((rows < 0).sum()), layout.root)
    with row_progress(f"decoding {printable(layout.root.name)}", unit="images") as progress:
        refused = build_map(path, wanted, 0 if before is None else len(before.pixels), progress)
    path.with_suffix(".safetensors").unlink(missing_ok=True)  # of an older version
    after = open_cache(path, size_px)
    if after is None:
        raise WriteError(f"{path} has been changed by another program")
    return _decoded_folder(
        after.pixels, files, after.find(keys), {files[row].relative_path: reason for row, reason in refused.items()}
    )


def _decode_in_memory(layout: Layout, files: Sequence[ImageFile], size_px: int) -> DecodedFolder:
    _announce(len(files), layout.root)
    pixels, refused = decode_by_threads(Block(0, files, [-1] * len(files)), size_px)
    named = {files[row].relative_path: reason for row, reason in refused.items()}
    return _decoded_folder(pixels, files, np.arange(len(files)), named)


def _refused_in_memory(files: Sequence[ImageFile], size_px: int) -> dict[str, str] | None:
    """Return why files cannot be read; None if one of them can."""
    refused: dict[str, str] = {}
    for file in files:
        (found,) = decode_files([file], size_px)
        if not isinstance(found, str):
            return None
        refused[file.relative_path] = found
    return refused


def _decoded_folder(
    pixels: UInt8[np.ndarray, "all h w 3"],
    files: Sequence[ImageFile],
    rows: Int64[np.ndarray, " n"],
    refused: Mapping[str, str],
) -> DecodedFolder:
    pairs = zip(files, rows.tolist(), strict=True)
    return DecodedFolder(pixels, {file.relative_path: row for file, row in pairs if row >= 0}, refused)


def _announce(num_images: int, root: Path) -> None:
    if num_images >= MIN_ANNOUNCED:
        _log.info(f"decoding {num_images:,} images of {root}, once")


def _warn_of_no_cache(reason: str) -> None:
    try:
        where = str(cache_dir())
    except RuntimeError:  # the home folder is unknown
        where = "a cache folder"
    warnings.warn(
        f"cannot keep the decoded images in {where} ({reason}): they are decoded every time. "
        f"Name another folder in {CACHE}.",
        stacklevel=4,
    )
