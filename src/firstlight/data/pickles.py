"""Reads the official Python-version batches without ever running what a pickle says.

A pickle is a program. The official batches use it to rebuild one numpy array, through three names; here these three
names lead to inert stand-ins that keep the array's shape and bytes for inspection, and every other name is refused.
"""

from __future__ import annotations

import io
import pickle
from typing import Any

import numpy as np

from firstlight.errors import DataError


class _Dtype:
    """Stands in for `numpy.dtype`: keeps the type's code."""

    def __init__(self, code: Any, *_: Any) -> None:
        self.code = code

    def __setstate__(self, state: Any) -> None:
        pass


class _Array:
    """Stands in for `numpy.ndarray`: keeps shape, type and bytes, allocates nothing."""

    shape: Any = None
    dtype: Any = None
    content: Any = None

    def __setstate__(self, state: Any) -> None:
        _version, self.shape, self.dtype, _is_fortran, self.content = state

    def to_numpy(self) -> np.ndarray:
        """Return the array, uint8, if that is what the pickle holds.

        Raises:
            ValueError: any other type, or a shape that its bytes do not fill.
        """
        code = getattr(self.dtype, "code", None)
        if code not in (b"u1", "u1") or not isinstance(self.content, bytes) or not isinstance(self.shape, tuple):
            raise ValueError("the pixels are not an array of unsigned bytes")
        return np.frombuffer(self.content, dtype=np.uint8).reshape(self.shape)


def _reconstruct(*_: Any) -> _Array:
    return _Array()


_ADMITTED = {
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Dtype,
}


# The interpreter in Python, not the one in C: its memo is a dictionary, so that a hostile memo index cannot
# allocate gigabytes, and it is fast enough for the 20,000 small objects in a batch.
class _InertUnpickler(pickle._Unpickler):  # type: ignore[misc, name-defined]  # no type stub
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
        detail = str(error) or type(error).__name__
        raise DataError(f"{source}: refused at byte {stream.tell()}: {detail}. Restore the official file.") from error
    if not isinstance(found, dict):
        raise DataError(f"{source}: holds a {type(found).__name__}, not a dictionary. Restore the official file.")
    try:
        return {key: value.to_numpy() if isinstance(value, _Array) else value for key, value in found.items()}
    except (ValueError, TypeError) as error:
        raise DataError(f"{source}: {error}. Restore the official file.") from error
