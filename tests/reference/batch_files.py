"""Writes CIFAR-10 files as their authors did: binary records, and pickles as Python 2's cPickle made them.

`pickled` reproduces the official files byte for byte (the tests show it), so what the tests then break is the
real format and not a likeness of it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

import numpy as np


def binary_batch(pixels: np.ndarray, labels: Iterable[int]) -> bytes:
    """One label byte before the bytes of each image."""
    return b"".join(bytes([label]) + image.tobytes() for image, label in zip(pixels, labels, strict=True))


def python_batch(pixels: np.ndarray, labels: list[int]) -> bytes:
    """A small batch with the keys of an official one, in their order."""
    names = [b"image_%d.png" % i for i in range(len(labels))]
    flat = pixels.reshape(len(pixels), -1)
    return pickled({b"batch_label": b"a small batch", b"labels": labels, b"data": flat, b"filenames": names})


def python_meta(names: list[bytes]) -> bytes:
    """The class names, with the keys of the official file in their order."""
    return pickled({b"num_cases_per_batch": 10000, b"label_names": names, b"num_vis": 3072})


def pickled(value: object) -> bytes:
    """Protocol 2, as cPickle writes it."""
    return b"\x80\x02" + _Writer().write(value) + b"."


class _Writer:
    def __init__(self) -> None:
        self.num_memos = 0

    def memo(self) -> bytes:
        self.num_memos += 1
        return b"q" + bytes([self.num_memos]) if self.num_memos < 256 else b"r" + struct.pack("<i", self.num_memos)

    def write(self, value: object) -> bytes:
        match value:
            case bytes():
                return string(value) + self.memo()
            case int():
                return integer(value)
            case list():
                return self.write_list(value)
            case dict():
                return self.write_dict(value)
            case np.ndarray():
                return self.write_array(value)
        raise TypeError(type(value))

    def write_list(self, values: list[object]) -> bytes:
        start = b"]" + self.memo()
        return start + b"".join(self._batch(values[i : i + 1000], b"a", b"e") for i in range(0, len(values), 1000))

    def write_dict(self, values: dict[bytes, object]) -> bytes:
        start = b"}" + self.memo()
        pairs = [part for pair in values.items() for part in pair]
        if len(pairs) == 2:
            return start + self.write(pairs[0]) + self.write(pairs[1]) + b"s"
        return start + b"(" + b"".join(map(self.write, pairs)) + b"u"

    def _batch(self, values: list[object], one: bytes, many: bytes) -> bytes:
        if len(values) == 1:
            return self.write(values[0]) + one
        return b"(" + b"".join(map(self.write, values)) + many

    def write_array(self, array: np.ndarray) -> bytes:
        rebuild = b"cnumpy.core.multiarray\n_reconstruct\n" + self.memo()
        rebuild += b"cnumpy\nndarray\n" + self.memo() + integer(0) + b"\x85" + string(b"b") + b"\x87R" + self.memo()
        shape = b"".join(map(integer, array.shape)) + {1: b"\x85", 2: b"\x86", 3: b"\x87"}[array.ndim]
        dtype = b"cnumpy\ndtype\n" + self.memo() + string(b"u1") + integer(0) + integer(1) + b"\x87R" + self.memo()
        dtype += b"(" + integer(3) + string(b"|") + b"NNN" + integer(-1) + integer(-1) + integer(0) + b"tb"
        return rebuild + b"(" + integer(1) + shape + dtype + b"\x89" + string(array.tobytes()) + b"tb"


def string(value: bytes) -> bytes:
    """SHORT_BINSTRING, or BINSTRING from 256 bytes on."""
    return b"U" + bytes([len(value)]) + value if len(value) < 256 else b"T" + struct.pack("<i", len(value)) + value


def integer(value: int) -> bytes:
    """BININT1, BININT2 or BININT: the shortest that fits."""
    if 0 <= value < 256:
        return b"K" + bytes([value])
    return b"M" + struct.pack("<H", value) if 0 <= value < 65536 else b"J" + struct.pack("<i", value)
