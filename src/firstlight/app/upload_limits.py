"""Read uploads in memory, within limits of size, number of pixels and file formats; reject others with one line."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

from firstlight.data.decoder import Budget, Decoder
from firstlight.errors import DataError

MAX_BYTES = 10_000_000
MAX_NAME_LENGTH = 60
MAX_DECODED = 2  # pictures that are decoded at a time
DECODER = Decoder("firstlight.app.upload_decoding:decode_upload", Budget(), MAX_DECODED)


@dataclass(frozen=True, eq=False)
class Upload:
    """A picture that was read.

    Args:
        pixels: Pixels at the input size of the network, uint8 [3 h w].
        preview: The picture, small enough for a page, RGB.
        notes: Sentences that tell the user how the picture was read.
    """

    pixels: UInt8[Tensor, "3 h w"]
    preview: Image.Image
    notes: tuple[str, ...]


def read_upload(content: bytes, name: str, size_px: tuple[int, int]) -> Upload:
    """Read an uploaded picture as `firstlight.data.preprocess.to_pixels` reads a file, in a process of its own.

    Only the first frame of an animation is read. Only some formats are decoded, up to a number of pixels; see
    `firstlight.app.upload_decoding`.

    Args:
        content: Bytes of the file.
        name: Name of the file for messages; may be any text.
        size_px: Height and width of the network's input.

    Raises:
        DataError: The file is empty, too large, damaged, not a picture in one of these formats, or takes more time or
            memory than `Budget` allows.
    """
    name = _printable(name)
    if not content:
        raise DataError(f"{name} is empty")
    if len(content) > MAX_BYTES:
        raise DataError(f"{name} is larger than {MAX_BYTES // 1_000_000} MB: shrink it")
    found = DECODER.decode(content, name, size_px)
    assert found.preview is not None
    return Upload(torch.from_numpy(found.pixels), Image.fromarray(found.preview), found.notes)


def _printable(name: str) -> str:
    kept = "".join(letter for letter in name if letter.isprintable()).strip() or "the file"
    return kept if len(kept) <= MAX_NAME_LENGTH else kept[: MAX_NAME_LENGTH - 1] + "\N{HORIZONTAL ELLIPSIS}"
