"""Decode the files of a folder: small ones in threads, others in processes with a budget of time and memory."""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from firstlight.data.decoder import FILE_BUDGET, Decoder
from firstlight.data.decoding import CHEAP_BYTES, decode_cheap, refusals
from firstlight.data.folder.layout import ImageFile
from firstlight.data.picture_bounds import check_content
from firstlight.data.preprocess import MAX_FILE_BYTES
from firstlight.errors import DataError
from firstlight.files import read_bytes, regular_file

MAX_THREADS = 4  # few, because decoding a large picture takes hundreds of megabytes


def decode_files(files: Sequence[ImageFile], size_px: int) -> list[Tensor | str]:
    """Return the pixels of each file, uint8 [3 size_px size_px], or why it cannot be read.

    A large picture is decoded in a process of its own; one that takes more than `FILE_BUDGET` is refused.

    Args:
        files: Files to decode.
        size_px: Side of the pixels.
    """
    num_threads = min(MAX_THREADS, os.cpu_count() or 1)
    decoder = Decoder("firstlight.data.decoding:decode_file", FILE_BUDGET, num_threads)  # starts no process yet

    def decode_one(file: ImageFile) -> Tensor | str:
        size = (size_px, size_px)
        try:
            with refusals(str(file.path)):
                content = content_of(file)
            found = decode_cheap(content, str(file.path), size) or decoder.decode(content, str(file.path), size)
            return torch.from_numpy(found.pixels)
        except DataError as error:
            return str(error).removeprefix(f"{file.path}: ")

    try:
        with warnings.catch_warnings(), ThreadPoolExecutor(num_threads) as pool:
            warnings.filterwarnings("ignore", module="PIL")  # about defects of files that can be read
            return list(pool.map(decode_one, files))
    finally:
        decoder.close()


def content_of(file: ImageFile) -> bytes:
    """Return the bytes of an image file, or of an image that is no file of its own.

    Raises:
        OSError: The file is missing, too large or not a regular file.
        DataError: See `ImageFile.read`.
    """
    return read_bytes(file.path, MAX_FILE_BYTES) if file.read is None else file.read()


def stored_size_px(file: ImageFile) -> tuple[int, int] | None:
    """Return the width and height of an image in its file, in pixels; None if its first megabyte does not tell."""
    try:
        content = _beginning(file.path) if file.read is None else file.read()[:CHEAP_BYTES]
        check_content(content, str(file.path))
        with warnings.catch_warnings(), Image.open(io.BytesIO(content)) as image:
            return image.size
    except Exception:  # decoding will report it
        return None


def _beginning(path: Path) -> bytes:
    with regular_file(path, MAX_FILE_BYTES).open("rb") as stream:
        return stream.read(CHEAP_BYTES)
