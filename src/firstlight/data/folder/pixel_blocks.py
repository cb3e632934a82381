"""Decode a block of image files into rows of pixels. Imports no PyTorch, so that processes that decode start fast."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8

from firstlight.data.decoder import FILE_BUDGET, Decoder
from firstlight.data.decoding import decode_cheap, refusals
from firstlight.errors import DataError
from firstlight.files import read_bytes

MAX_FILE_BYTES = 2**30  # of a picture


class BlockRow(NamedTuple):
    """Where the pixels of a row come from.

    Args:
        name: Path of the image's file, or its name in messages.
        old_row: Row of an older file of decoded images that has the pixels; -1 if they must be decoded.
        has_content: Whether the image is no file of its own, so that its content comes with the request.
    """

    name: str
    old_row: int = -1
    has_content: bool = False


def decode_block(
    rows: Sequence[BlockRow],
    size_px: int,
    old: UInt8[np.ndarray, "_ h w 3"] | None,
    content_of: Callable[[int], bytes],
    decoder: Decoder,
) -> tuple[UInt8[np.ndarray, "m h w 3"], dict[int, str]]:
    """Return the pixels of some rows, uint8 [m h w 3], and for each row that cannot be read why.

    Args:
        rows: Rows to decode or to copy.
        size_px: Side of the images in pixels.
        old: Pixels of the older file of decoded images.
        content_of: Function from the index of a row that `has_content` to its content; may raise DataError.
        decoder: Decoder of large pictures.
    """
    pixels = np.zeros((len(rows), size_px, size_px, 3), dtype=np.uint8)
    refused: dict[int, str] = {}
    size = (size_px, size_px)
    for index, row in enumerate(rows):
        if row.old_row >= 0 and old is not None:
            pixels[index] = old[row.old_row]
            continue
        try:
            content = content_of(index) if row.has_content else _read(row.name)
            found = decode_cheap(content, row.name, size) or decoder.decode(content, row.name, size)
            pixels[index] = found.pixels.transpose(1, 2, 0)
        except DataError as error:
            refused[index] = str(error).removeprefix(f"{row.name}: ")
    return pixels, refused


def large_picture_decoder() -> Decoder:
    """Return the decoder of a process that decodes one picture at a time; it starts no process yet."""
    return Decoder("firstlight.data.decoding:decode_file", FILE_BUDGET)


def write_block(path: Path, offset: int, pixels: UInt8[np.ndarray, "m h w 3"]) -> str:
    """Write pixels into an existing file, and return their SHA-256.

    Raises:
        OSError: The disk is full.
    """
    with path.open("r+b", buffering=0) as file:
        file.seek(offset)
        rest = pixels.reshape(-1).data
        while rest:
            rest = rest[file.write(rest) :]
    return hashlib.sha256(pixels.data).hexdigest()


def _read(name: str) -> bytes:
    with refusals(name):
        return read_bytes(name, MAX_FILE_BYTES)
