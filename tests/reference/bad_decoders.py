"""Decoders that behave as Pillow might for a picture that nobody has thought of."""

from __future__ import annotations

import os
import time

import numpy as np

from firstlight.data.decoding import Decoded


def misbehave(content: bytes, name: str, size_px: tuple[int, int]) -> Decoded:
    """Do what the content says."""
    if content == b"compute":
        while True:
            pass
    if content == b"sleep":
        time.sleep(600)
    if content == b"fill":
        return Decoded(np.zeros((3, 1 << 30), np.uint8))
    if content == b"crash":
        os.abort()
    if content == b"chat":
        print("an answer?", flush=True)
    shape = (3, 9, 9) if content == b"other size" else (3, *size_px)
    return Decoded(np.full(shape, 7, np.uint8))
