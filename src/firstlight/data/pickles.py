"""Reads the official Python-version batches without ever running what a pickle says.

A pickle is a program. The official batches use it to rebuild one numpy array, through three names; here these three
names lead to inert stand-ins that keep the array's bytes, and every other name is refused. So is every instruction
that the official batches have no use for.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np

from firstlight.errors import DataError


class _Dtype:
    """Stands in for `numpy.dtype`: keeps the type's code."""

    code: Any = None

    def __init__(self, code: Any, *_: Any) -> None:
        self.code = code

    def __setstate__(self, state: Any) -> None:
        pass


class _Array:
    """Stands in for `numpy.ndarray` and for the function that makes an empty one: keeps the pixels, if they are bytes.

    A class in both places, because a pickle can set attributes of a function, which would outlive the reading.
    """

    pixels: np.ndarray | None = None

    def __init__(self, *_: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        _version, shape, dtype, is_fortran, content = state
        if not isinstance(dtype, _Dtype) or dtype.code != b"u1" or not isinstance(content, bytes):
            raise ValueError("the pixels are not an array of unsigned bytes")
        if not isinstance(shape, tuple) or len(shape) != 2 or not all(type(side) is int for side in shape):
            raise ValueError("the shape of the pixels is not two whole numbers")
        if is_fortran is not False or min(shape) < 0 or shape[0] * shape[1] != len(content):
            raise ValueError(f"{len(content)} bytes of pixels do not fill their shape row by row")
        self.pixels = np.frombuffer(content, dtype=np.uint8).reshape(shape)


_ADMITTED = {
    ("numpy.core.multiarray", "_reconstruct"): _Array,
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Dtype,
}


class _Dictionary(dict[bytes, Any]):
    """A dictionary with bytes for keys. To hash any other key can take forever or overflow the stack: tuples nest."""

    def __setitem__(self, key: bytes, value: Any) -> None:
        if not isinstance(key, bytes):
            raise pickle.UnpicklingError(f"a dictionary key is a {type(key).__name__}, not a string")
        super().__setitem__(key, value)


class _Instructions(dict[int, Any]):
    """What each opcode does; an opcode without an entry is refused by its number."""

    def __missing__(self, opcode: int) -> NoReturn:
        raise pickle.UnpicklingError(f"opcode 0x{opcode:02x}, which no official batch contains")


# The opcodes of the official batches, and what the same writer takes for one element or for an object seen before.
# Not among them, for instance: BYTEARRAY8, which allocates whatever length it is told, and EXT1, which asks for
# classes by number.
_OPCODES = (
    *(pickle.PROTO, pickle.STOP, pickle.MARK, pickle.NONE, pickle.NEWTRUE, pickle.NEWFALSE),
    *(pickle.BININT, pickle.BININT1, pickle.BININT2, pickle.BINSTRING, pickle.SHORT_BINSTRING),
    *(pickle.EMPTY_DICT, pickle.SETITEM, pickle.SETITEMS, pickle.EMPTY_LIST, pickle.APPEND, pickle.APPENDS),
    *(pickle.EMPTY_TUPLE, pickle.TUPLE, pickle.TUPLE1, pickle.TUPLE2, pickle.TUPLE3),
    *(pickle.BINPUT, pickle.LONG_BINPUT, pickle.BINGET, pickle.LONG_BINGET),
    *(pickle.GLOBAL, pickle.REDUCE, pickle.BUILD),
)


# The interpreter in Python, not the one in C: its memo is a dictionary, so that a hostile memo index cannot
# allocate gigabytes, and it is fast enough for the 20,000 small objects in a batch.
class _InertUnpickler(pickle._Unpickler):
    append: Callable[[Any], None]

    dispatch = _Instructions({opcode[0]: pickle._Unpickler.dispatch[opcode[0]] for opcode in _OPCODES})

    def load_empty_dictionary(self) -> None:
        self.append(_Dictionary())

    dispatch[pickle.EMPTY_DICT[0]] = load_empty_dictionary

    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ADMITTED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no official batch contains") from None


def read_pickled_dict(content: bytes, source: str) -> dict[bytes, Any]:
    r"""Return the dictionary in a Python 2 pickle, its strings as bytes, its arrays as numpy uint8.

    Args:
        content: the whole file.
        source: the file's name, for messages.

    Raises:
        DataError: the pickle is malformed, or asks for anything but a plain array of bytes;
            names the file and the offset.

    >>> read_pickled_dict(b"\x80\x02}U\x06labels]K\x03as.", "data_batch_1")
    {b'labels': [3]}
    """
    stream = io.BytesIO(content)
    try:
        found = _InertUnpickler(stream, encoding="bytes").load()
    except Exception as error:  # a malformed program can fail in any way; all of them mean the same
        # what the file says is shown escaped and cut: it may hold line breaks, terminal codes or megabytes
        detail = str(error).encode("unicode_escape").decode()[:200] or type(error).__name__
        raise DataError(f"{source}: refused at byte {stream.tell()}: {detail}. Restore the official file.") from error
    if not isinstance(found, _Dictionary):
        raise DataError(f"{source}: ends at byte {stream.tell()} without a dictionary. Restore the official file.")
    return {key: value.pixels if isinstance(value, _Array) else value for key, value in found.items()}
