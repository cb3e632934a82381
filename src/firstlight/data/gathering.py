"""Gather the pixels of coming batches by threads, while the training computes."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import torch
from jaxtyping import Int64
from torch import Tensor

from firstlight.arrays import Images
from firstlight.data.mapped_images import MappedImages

NUM_THREADS = 4  # each waits for the disk most of the time
NUM_AHEAD = 8  # batches that are gathered or being gathered


def gathered_ahead(
    pixels: Images | MappedImages, parts: Sequence[Int64[Tensor, " _"]], *, pin_memory: bool = False
) -> Iterator[Images]:
    """Yield `pixels[part]` for each part in order, uint8 [m 3 h w]; coming parts are gathered meanwhile.

    Args:
        pixels: Pixels in the CPU's memory or in a file.
        parts: Indices of the images of each part, int64 [m], on the CPU.
        pin_memory: Whether to gather into memory from which a GPU copies without waiting.
    """
    with ThreadPoolExecutor(NUM_THREADS, thread_name_prefix="firstlight-gather") as pool:
        pending: deque[Future[Images]] = deque()
        try:
            for part in parts:
                pending.append(pool.submit(_gather, pixels, part, pin_memory))
                if len(pending) > NUM_AHEAD:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for each in pending:
                each.cancel()


def _gather(pixels: Images | MappedImages, index: Int64[Tensor, " m"], pin_memory: bool) -> Images:
    if isinstance(pixels, MappedImages):
        return pixels.gather(index, pin_memory=pin_memory)
    found = torch.empty(len(index), *pixels.shape[1:], dtype=torch.uint8, pin_memory=pin_memory)
    return torch.index_select(pixels, 0, index, out=found)
