"""Random number generators that depend only on seed, epoch and purpose.

All random numbers of an epoch are drawn on the CPU before the epoch begins. A run therefore resumes in the middle of an
epoch with the same bits, the number of devices changes nothing, and a test can replay any batch.
"""

from __future__ import annotations

import hashlib

import numpy as np
import torch


def generator(seed: int, epoch: int, purpose: str) -> torch.Generator:
    """Return a fresh CPU generator for one purpose in one epoch of one run.

    >>> a = torch.rand(1, generator=generator(0, 3, "flip"))
    >>> b = torch.rand(1, generator=generator(0, 3, "flip"))
    >>> c = torch.rand(1, generator=generator(0, 3, "crop"))
    >>> bool(a == b), bool(a == c)
    (True, False)
    """
    return torch.Generator().manual_seed(_seed_of(seed, epoch, purpose))


def numpy_generator(seed: int, epoch: int, purpose: str) -> np.random.Generator:
    """Return a fresh generator of NumPy for one purpose, for distributions that PyTorch cannot draw from a generator.

    >>> bool(numpy_generator(0, 3, "mixup").beta(1, 1) == numpy_generator(0, 3, "mixup").beta(1, 1))
    True
    """
    return np.random.default_rng(_seed_of(seed, epoch, purpose))


def _seed_of(seed: int, epoch: int, purpose: str) -> int:
    digest = hashlib.sha256(f"{seed}/{epoch}/{purpose}".encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1
