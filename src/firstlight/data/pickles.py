"""Read the official batches in Python's pickle format without executing their code.

A pickle is a program. The official batches use it to rebuild one numpy array through three names. Here these three
names refer to inert classes that store the array's bytes. Every other name is refused, and so is every opcode that the
official batches do not use.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np

from firstlight.errors import DataError


class _Dtype:
    """Replaces `numpy.dtype`, and stores the code of the type."""

    code: Any = None

    def __init__(self, code: Any, *_: Any) -> None:
        self.code = code

    def __setstate__(self, state: Any) -> None:
        pass


class _Array:
    """Replaces `numpy.ndarray` and the function that creates an empty one, and stores the pixels if they are bytes.

    Both are replaced by a class, because a pickle can set attributes of a function, which would persist.
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
    """A dictionary with keys of type bytes, because hashing nested tuples can take forever or overflow the stack."""

    def __setitem__(self, key: bytes, value: Any) -> None:
        if not isinstance(key, bytes):
            raise pickle.UnpicklingError(f"a dictionary key is a {type(key).__name__}, not a string")
        super().__setitem__(key, value)


class _OpcodeHandlers(dict[int, Any]):
    """The handlers of the opcodes; an opcode without a handler is refused."""

    def __missing__(self, opcode: int) -> NoReturn:
        raise pickle.UnpicklingError(f"opcode 0x{opcode:02x}, which no official batch contains")


# The opcodes of the official batches, and those that the same writer uses for single elements and repeated objects.
# They exclude, for instance, BYTEARRAY8, which allocates a length of the file's choice, and EXT1, which refers to
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

    dispatch = _OpcodeHandlers({opcode[0]: pickle._Unpickler.dispatch[opcode[0]] for opcode in _OPCODES})

    def load_empty_dictionary(self) -> None:
        self.append(_Dictionary())

    dispatch[pickle.EMPTY_DICT[0]] = load_empty_dictionary

    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ADMITTED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"it names {module}.{name}, which no official batch contains") from None


def read_pickled_dict(content: bytes, source: str) -> dict[bytes, Any]:
    r"""Return the dictionary in a Python 2 pickle, its strings as bytes, its arrays as numpy uint8.

    Args:
        content: Content of the whole file.
        source: Name of the file, for messages.

    Raises:
        DataError: The pickle is malformed, or holds anything but a plain array of bytes; the message names the file and
            the offset.

    >>> read_pickled_dict(b"\x80\x02}U\x06labels]K\x03as.", "data_batch_1")
    {b'labels': [3]}
    """
    stream = io.BytesIO(content)
    try:
        found = _InertUnpickler(stream, encoding="bytes").load()
    except Exception as error:  # pickle raises many types for malformed files
        # text from the file is escaped and shortened, because it may hold line breaks, terminal codes or megabytes
        detail = str(error).encode("unicode_escape").decode()[:200] or type(error).__name__
        raise DataError(f"{source}: refused at byte {stream.tell()}: {detail}. Restore the official file.") from error
    if not isinstance(found, _Dictionary):
        raise DataError(f"{source}: ends at byte {stream.tell()} without a dictionary. Restore the official file.")
    return {key: value.pixels if isinstance(value, _Array) else value for key, value in found.items()}
