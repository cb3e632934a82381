"""MappedImages: images in a file, of which only the rows that somebody asks for are read."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from torch import Tensor

from firstlight.arrays import Images
from firstlight.data.free_memory import refuse_too_large
from firstlight.data.mapped_rows import advise

LOADED_COPIES = 2  # what loads all images works on a copy of them
CHUNK_BYTES = 2**24  # of pixels that are loaded at a time


class MappedImages:
    """Raw pixels in a file, uint8 [n 3 h w], mapped into the address space but not read.

    The file stores each image as uint8 [h w 3]. Its pages belong to the system's cache: the system drops them when it
    needs memory, and several processes share them.

    Args:
        stored: The mapped file, uint8 [all h w 3].
        rows: Row of each image in the file, int64 [n]; None for all rows in their order.

    >>> images = MappedImages(np.arange(24, dtype=np.uint8).reshape(4, 1, 2, 3))
    >>> images.select(torch.tensor([3, 0])).gather(torch.tensor([0])).flatten().tolist()
    [18, 21, 19, 22, 20, 23]
    """

    def __init__(self, stored: UInt8[np.ndarray, "all h w 3"], rows: Int64[Tensor, " n"] | None = None) -> None:
        self._stored = stored
        self._rows = rows

    def __len__(self) -> int:
        return len(self._stored) if self._rows is None else len(self._rows)

    @property
    def shape(self) -> torch.Size:
        """Number of images, 3, height and width."""
        return torch.Size((len(self), 3, *self._stored.shape[1:3]))

    @property
    def num_bytes(self) -> int:
        """Size of the images in bytes."""
        return self.shape.numel()

    def select(self, index: Int64[Tensor, " m"] | slice) -> MappedImages:
        """Return the indexed images, still in the file."""
        rows = torch.arange(len(self)) if self._rows is None else self._rows
        return MappedImages(self._stored, rows[index])

    def gather(self, index: Int64[Tensor, " m"], *, pin_memory: bool = False) -> Images:
        """Read the indexed images, channels_last in memory; other threads run meanwhile.

        Args:
            index: Indices of the images, int64 [m].
            pin_memory: Whether to read into memory from which a GPU copies without waiting.

        Raises:
            IndexError: An index is out of range.
        """
        if len(index) and not 0 <= int(index.min()) <= int(index.max()) < len(self):
            raise IndexError(f"index {int(index.min())} to {int(index.max())} of {len(self)} images")
        rows = index if self._rows is None else self._rows[index]
        found = torch.empty(len(rows), *self._stored.shape[1:], dtype=torch.uint8, pin_memory=pin_memory)
        # mode="clip" writes straight into `out`; the default mode would fill a buffer first.
        np.take(self._stored, rows.numpy(), axis=0, out=found.numpy(), mode="clip")
        return found.permute(0, 3, 1, 2)

    def split(self, count: int) -> Iterator[Images]:
        """Yield all images in order, at most `count` at a time, contiguous."""
        advise(self._stored, "MADV_NORMAL")
        for first in range(0, max(1, len(self)), count):  # one empty part of no images, as for a tensor
            yield self.gather(torch.arange(first, min(first + count, len(self)))).contiguous()

    def load(self, what: str = "the images") -> Images:
        """Read all images into memory, contiguous.

        Args:
            what: Name of the images for messages.

        Raises:
            DataError: The free memory is too small.
        """
        refuse_too_large(LOADED_COPIES * self.num_bytes, f"{len(self):,} images of {what}")
        loaded, first = torch.empty(self.shape, dtype=torch.uint8), 0
        for chunk in self.split(max(1, CHUNK_BYTES // max(1, self.shape[1:].numel()))):
            loaded[first : first + len(chunk)] = chunk
            first += len(chunk)
        return loaded

    def expect_random_reads(self) -> None:
        """Tell the system not to read the neighbours of the images that are asked for."""
        advise(self._stored, "MADV_RANDOM")


StoredImages = Images | MappedImages
"""Raw pixels in memory or in a file; both have `len`, `shape` and `split`."""
