"""The file of decoded images: raw pixels, which are mapped and not read, and behind them an index.

The pixels are uint8 [n h w 3]. The index says of each row which version of which file it was decoded from, and of which
class it is. A footer of fixed size, at the end, has the size and the digest of the index. A row whose file could not be
decoded has the key 0.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from jaxtyping import Int64, UInt8, UInt64

from firstlight.data.mapped_rows import map_bytes
from firstlight.files import regular_file

MAX_BYTES = 2**44
BLOCK_BYTES = 2**20  # of pixels that are decoded, written and checked together
_FOOTER = struct.Struct("<16sQ32s")
_MAGIC = b"firstlight map 1"

Keys = UInt64[np.ndarray, "n 2"]  # a digest of 128 bits for each version of a file


@dataclass(frozen=True, eq=False)
class ImageMap:
    """An opened file of decoded images.

    Args:
        pixels: Mapped pixels, uint8 [n h w 3].
        keys: Key of each row, uint64 [n 2].
        labels: Class of each row, int64 [n].
        class_names: Names of the classes.
        names: Path of each row's file, below its folder, as UTF-8, one after the other.
        name_ends: End of each path in `names`, int64 [n].
        digests: SHA-256 of each block of `rows_per_block` rows.
    """

    pixels: UInt8[np.ndarray, "n h w 3"]
    keys: Keys
    labels: Int64[np.ndarray, " n"]
    class_names: tuple[str, ...]
    names: bytes
    name_ends: Int64[np.ndarray, " n"]
    digests: tuple[str, ...]

    def find(self, keys: UInt64[np.ndarray, "m 2"]) -> Int64[np.ndarray, " m"]:
        """Return the row of each key, int64 [m]; -1 if it is in no row."""
        if not len(self.keys):
            return np.full(len(keys), -1)
        order = np.argsort(self.keys[:, 0], kind="stable")
        found = order[np.searchsorted(self.keys[order, 0], keys[:, 0]).clip(max=len(order) - 1)]
        return np.where((self.keys[found] == keys).all(axis=1), found, -1)

    def file_name(self, row: int) -> str:
        """Return the path of a row's file."""
        first = int(self.name_ends[row - 1]) if row else 0
        return self.names[first : int(self.name_ends[row])].decode("utf-8", "surrogateescape")

    def refused_names(self) -> set[str]:
        """Return the paths of the files that could not be decoded."""
        return {self.file_name(row) for row in (self.keys == 0).all(axis=1).nonzero()[0].tolist()}

    def is_whole(self) -> bool:
        """Read all pixels, and return whether they have the digests of the index."""
        step = rows_per_block(self.pixels.shape[1])
        blocks = range(0, len(self.pixels), step)
        return len(blocks) == len(self.digests) and all(
            hashlib.sha256(self.pixels[first : first + step].data).hexdigest() == digest
            for first, digest in zip(blocks, self.digests, strict=True)
        )


def rows_per_block(size_px: int) -> int:
    """Return the number of images of this size in a block."""
    return max(1, BLOCK_BYTES // (3 * size_px * size_px))


def open_image_map(path: Path, settings: str, size_px: int) -> ImageMap | None:
    """Open a file of decoded images; None if it is missing, damaged or was written with other settings.

    The pixels are not read. The sizes, the digest of the index and its values are checked.

    Args:
        path: Path of the file.
        settings: Settings that the file must have been written with.
        size_px: Side of the images in pixels.
    """
    try:
        num_bytes = regular_file(path, MAX_BYTES).stat().st_size
        with path.open("rb") as file:
            file.seek(num_bytes - _FOOTER.size)
            magic, index_bytes, digest = _FOOTER.unpack(file.read())
        content = map_bytes(path, num_bytes)
        first = num_bytes - _FOOTER.size - index_bytes
        if magic != _MAGIC or first < 0:
            return None
        index = content[first : num_bytes - _FOOTER.size].tobytes()
        return _parse(content[:first], index, settings, size_px) if hashlib.sha256(index).digest() == digest else None
    except (OSError, ValueError, KeyError, TypeError, RecursionError, struct.error):
        return None


def _parse(pixels: UInt8[np.ndarray, " bytes"], index: bytes, settings: str, size_px: int) -> ImageMap | None:
    head_bytes, _, arrays = index.partition(b"\n")
    head: dict[str, Any] = json.loads(head_bytes)
    num_rows, num_names = int(head["num_rows"]), len(arrays)
    if head["settings"] != settings or not 0 <= num_rows <= len(arrays) // 32:
        return None
    keys = np.frombuffer(arrays, np.uint64, 2 * num_rows).reshape(num_rows, 2)
    labels = np.frombuffer(arrays, np.int64, num_rows, offset=16 * num_rows)
    ends = np.frombuffer(arrays, np.int64, num_rows, offset=24 * num_rows)
    names, class_names = arrays[32 * num_rows :], tuple(map(str, head["class_names"]))
    num_names = len(names)
    is_valid = not num_rows or (
        (labels >= 0).all()
        and (labels < len(class_names)).all()
        and (np.diff(ends, prepend=0) >= 0).all()
        and ends[-1] == num_names
    )
    if not is_valid:
        return None
    stored = pixels.reshape(num_rows, size_px, size_px, 3)  # raises ValueError for another number of bytes
    return ImageMap(stored, keys, labels, class_names, names, ends, tuple(map(str, head["digests"])))


def write_index(
    file: BinaryIO,
    settings: str,
    keys: Keys,
    labels: Int64[np.ndarray, " n"],
    class_names: Sequence[str],
    names: Sequence[str],
    digests: Sequence[str],
) -> None:
    """Write the index and the footer at the position of an open file, behind the pixels.

    Args:
        file: File that is open for writing.
        settings: What `open_image_map` must be given.
        keys: Key of each row, uint64 [n 2]; 0 for a row without an image.
        labels: Class of each row, int64 [n].
        class_names: Names of the classes.
        names: Path of each row's file.
        digests: SHA-256 of each block of pixels.
    """
    encoded = [name.encode("utf-8", "surrogateescape") for name in names]
    head = {"settings": settings, "num_rows": len(keys), "class_names": list(class_names), "digests": list(digests)}
    ends = np.cumsum([len(name) for name in encoded], dtype=np.int64)
    parts = [json.dumps(head).encode() + b"\n", keys.tobytes(), labels.tobytes(), ends.tobytes(), b"".join(encoded)]
    sha = hashlib.sha256()
    for part in parts:
        sha.update(part)
        file.write(part)
    file.write(_FOOTER.pack(_MAGIC, sum(map(len, parts)), sha.digest()))
