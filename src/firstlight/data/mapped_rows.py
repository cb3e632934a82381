"""Map a file of pixels into the address space without reading it. Imports no PyTorch."""

from __future__ import annotations

import mmap
from pathlib import Path

import numpy as np
from jaxtyping import UInt8


def map_rows(path: Path, num_rows: int, size_px: tuple[int, int]) -> UInt8[np.ndarray, "all h w 3"]:
    """Map the first rows of a file as read-only pixels, uint8 [all h w 3].

    Raises:
        OSError: The file cannot be opened or mapped.
        ValueError: The file is smaller.
    """
    height, width = size_px
    return map_bytes(path, num_rows * height * width * 3).reshape(num_rows, height, width, 3)


def map_bytes(path: Path, num_bytes: int) -> UInt8[np.ndarray, " bytes"]:
    """Map the first bytes of a file, read-only; raises as `map_rows` does."""
    if not num_bytes:
        return np.empty(0, dtype=np.uint8)
    with path.open("rb") as file:
        return np.frombuffer(mmap.mmap(file.fileno(), num_bytes, access=mmap.ACCESS_READ), dtype=np.uint8)


def advise(mapped: np.ndarray, advice: str) -> None:
    """Tell the system how a mapped file will be read, if it can be told.

    Args:
        mapped: Array from this module, or a view of one.
        advice: A name in `mmap`, such as "MADV_RANDOM".
    """
    base = mapped.base
    while isinstance(base, np.ndarray):
        base = base.base
    content = base.obj if isinstance(base, memoryview) else None
    if isinstance(content, mmap.mmap) and hasattr(mmap, advice):
        content.madvise(getattr(mmap, advice))
