"""Refuse pictures whose small files would take a decoder minutes, before any decoder sees them."""

from __future__ import annotations

from collections.abc import Iterator

from firstlight.errors import DataError

MAX_SIDE_PX = 65_535  # the largest side of a JPEG
MAX_SCANS = 100  # a progressive JPEG has about 10; each scan touches every pixel again
MAX_COMMENT_BYTES = 1_000_000  # Pillow joins the comments of a GIF in quadratic time
_START_OF_SCAN = b"\xff\xda"
_EXTENSION, _COMMENT, _IMAGE = 0x21, 0xFE, 0x2C  # blocks of a GIF


def check_content(content: bytes, name: str) -> None:
    """Raise DataError if a JPEG has too many scans or a GIF too long comments.

    Args:
        content: Bytes of a file of any kind.
        name: Name of the file for messages.
    """
    if content.startswith(b"\xff\xd8") and content.count(_START_OF_SCAN) > MAX_SCANS:
        raise DataError(f"{name}: the JPEG has more than {MAX_SCANS} scans: save it again with another program")
    if content.startswith(b"GIF8") and sum(_comment_sizes(content)) > MAX_COMMENT_BYTES:
        limit = f"{MAX_COMMENT_BYTES // 1_000_000} MB"
        raise DataError(f"{name}: the GIF has more than {limit} of comments: save it again with another program")


def check_size(width: int, height: int, max_pixels: int, name: str) -> None:
    """Raise DataError if a picture has too many pixels, or too many in a row or a column.

    >>> check_size(70_000, 1, 50_000_000, "a.png")
    Traceback (most recent call last):
    ...
    firstlight.errors.DataError: a.png: 70000x1 has a side of more than 65,535 pixels: shrink it
    """
    if width * height > max_pixels:
        raise DataError(f"{name}: {width}x{height} is more than {max_pixels / 1e6:.3g} million pixels: shrink it")
    if max(width, height) > MAX_SIDE_PX:
        raise DataError(f"{name}: {width}x{height} has a side of more than {MAX_SIDE_PX:,} pixels: shrink it")


def _comment_sizes(content: bytes) -> Iterator[int]:
    """Yield the bytes of each comment of a GIF, as far as its blocks can be followed."""
    position = 13 + _table_bytes(content[10] if len(content) > 10 else 0)
    while position + 10 < len(content):
        kind, label = content[position], content[position + 1]
        if kind == _EXTENSION:
            begin = position + 2
        elif kind == _IMAGE:
            begin = position + 11 + _table_bytes(content[position + 9])
        else:
            return
        position = _end_of_blocks(content, begin)
        if kind == _EXTENSION and label == _COMMENT:
            yield position - begin


def _table_bytes(flags: int) -> int:
    """Return the size of the colour table that the flags of a GIF announce."""
    return 3 * 2 ** (1 + (flags & 7)) if flags & 0x80 else 0


def _end_of_blocks(content: bytes, position: int) -> int:
    """Return the position after a chain of blocks, each with its length in front, that ends with a length of 0."""
    while position < len(content) and content[position]:
        position += 1 + content[position]
    return position + 1
