"""Hostile pickles run no code, allocate no large memory, and are refused in one line."""

from __future__ import annotations

import copyreg
import io
import os
import pickle
import random
import re
import struct
import sys
import threading
import tracemalloc
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from firstlight.data import pickles
from firstlight.data.pickles import read_pickled_dict
from firstlight.errors import DataError
from reference.batch_files import pickled, string
from reference.unchecked import without_type_checks

PIXELS = np.arange(6, dtype=np.uint8).reshape(2, 3)
SMALL = pickled({b"labels": [3, 1], b"data": PIXELS, b"names": [b"a", b"b" * 300], b"num": -70000})
RECONSTRUCT = b"cnumpy.core.multiarray\n_reconstruct\n"
NDARRAY = b"cnumpy\nndarray\n"
DTYPE = b"cnumpy\ndtype\n"
EMPTY_ARRAY = RECONSTRUCT + NDARRAY + b"K\x00\x85U\x01b\x87R"
BYTES_TYPE = DTYPE + b"U\x02u1K\x00K\x01\x87R"


def as_value(program: bytes) -> bytes:
    """A pickle of a dictionary with one entry, the value that the program leaves on the stack."""
    return b"\x80\x02}U\x04data" + program + b"s."


def array(shape: bytes, dtype: bytes, is_fortran: bytes, content: bytes) -> bytes:
    return as_value(EMPTY_ARRAY + b"(K\x01" + shape + dtype + is_fortran + content + b"tb")


class Watch:
    """Records audit events of executed code and file access within the `with` block.

    There is one for the whole file: a hook for auditing cannot be taken back. What other tests have left running in
    threads of their own, a server for instance, is not the reader's doing.
    """

    EVENTS = ("import", "exec", "compile", "open", "os.", "subprocess.", "ctypes.", "socket.", "object.__setattr__")

    def __init__(self) -> None:
        self.thread: int | None = None  # the thread whose events are recorded
        self.seen: list[str] = []
        sys.addaudithook(self.note)

    def note(self, event: str, _arguments: tuple[object, ...]) -> None:
        if self.thread == threading.get_ident() and event.startswith(self.EVENTS):
            self.seen.append(event)

    def __enter__(self) -> list[str]:
        self.seen, self.thread = [], threading.get_ident()
        return self.seen

    def __exit__(self, *_: object) -> None:
        self.thread = None


WATCH = Watch()


def read(content: bytes, source: str = "folder/data_batch_1") -> dict[bytes, object] | str:
    """Return the content of the pickle, or the message that refuses it; check that no code has run."""
    found: dict[bytes, object] | str
    with without_type_checks(), WATCH as seen:
        try:
            found = read_pickled_dict(content, source)
        except DataError as error:
            found = str(error)
    assert seen == []
    if isinstance(found, str):
        assert len(found.splitlines()) == 1
        assert found.isprintable()
        assert len(found) < 400
        assert re.match(r"folder/data_batch_1: (refused|ends) at byte \d+", found)
    return found


def refusal(content: bytes) -> str:
    message = read(content)
    assert isinstance(message, str), f"was read as {message}"
    return message


@pytest.fixture(scope="module", autouse=True)
def warm() -> None:
    """Trigger the imports of the first refusal before the audit starts."""
    with pytest.raises(DataError):
        read_pickled_dict(b"\x80\x02cposix\nsystem\n.", "warm")
    read_pickled_dict(SMALL, "warm")


def test_the_audit_hook_detects_executed_code() -> None:
    with WATCH as seen:
        pickle.loads(b"\x80\x02cbuiltins\neval\nU\x031+1\x85R.")
    assert "exec" in seen


def test_a_well_formed_pickle_is_read_unchanged() -> None:
    found = read_pickled_dict(SMALL, "small")
    assert np.array_equal(found.pop(b"data"), PIXELS)
    assert found == {b"labels": [3, 1], b"names": [b"a", b"b" * 300], b"num": -70000}
    assert type(found) is dict


class Calls:
    """An object that pickles as a function call."""

    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self.call


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize(
    "function",
    [os.system, eval, exec, getattr, __import__, open, np.frompyfunc, np.load, np.array, bytearray, Fraction],
    ids=lambda function: function.__name__,
)
def test_no_function_is_called_by_any_protocol(tmp_path: Path, function: Callable[..., object], protocol: int) -> None:
    content = pickle.dumps({"data": Calls(function, f"touch {tmp_path}/ran")}, protocol=protocol)
    refusal(content)
    assert list(tmp_path.iterdir()) == []


HOSTILE = {
    "a call of os.system": as_value(b"cposix\nsystem\nU\x04true\x85R"),
    "a call of eval": as_value(b"c__builtin__\neval\nU\x011\x85R"),
    "a numpy function": as_value(b"cnumpy\nadd\n(K\x01K\x01tR"),
    "a numpy scalar": as_value(b"cnumpy.core.multiarray\nscalar\n" + BYTES_TYPE + b"U\x01a\x86R"),
    "numpy's new private name": as_value(b"cnumpy._core.multiarray\n_reconstruct\n"),
    "an attribute of an admitted name": as_value(b"cnumpy\nndarray.tofile\n"),
    "an admitted name of another module": as_value(b"cfirstlight.data.pickles\n_Array\n"),
    "a name on the stack": b"\x80\x04}\x8c\x05posix\x8c\x06system\x93s.",
    "a persistent id": as_value(b"Pabc\n"),
    "a binary persistent id": as_value(b"U\x01aQ"),
    "an instance by name": as_value(b"(U\x04trueiposix\nsystem\n"),
    "an instance of an admitted name": as_value(b"(inumpy\nndarray\n"),
    "an object of an admitted name": as_value(b"(" + NDARRAY + b"o"),
    "a new object of an admitted class": as_value(NDARRAY + b")\x81"),
    "a new object with keywords": b"\x80\x04}U\x04data" + NDARRAY + b")}\x92s.",
    "a call of a string": as_value(b"U\x01a)R"),
    "a call of an array": as_value(EMPTY_ARRAY + b")R"),
    "attributes of an admitted class": as_value(NDARRAY + b"}U\x07__doc__U\x01asb"),
    "attributes of the rebuilding name": as_value(RECONSTRUCT + b"N}U\x0c__defaults__)s\x86b"),
    "attributes of a list": as_value(b"]}U\x01aU\x01bsb"),
    "a text string": as_value(b"X\x01\x00\x00\x00a"),
    "an old integer": as_value(b"I" + b"9" * 5000 + b"\n"),
    "a long integer": as_value(b"\x8a\x0a" + b"\xff" * 10),
    "a float": as_value(b"F1.0\n"),
    "a set": as_value(b"\x8f"),
    "no dictionary": b"\x80\x02]q\x01.",
    "nothing": b"\x80\x02.",
    "no pickle": b"\x7fELF\x02\x01\x01",
    "a newer protocol": b"\x80\x7f}.",
    "an absent memo": as_value(b"h\x63"),
    "an unknown opcode": as_value(b"\xff"),
    "a name that breaks lines": as_value(b"cos\r\x0b\x1b[31m\xe2\x80\xa8\nsystem\n"),
    "a name of a megabyte": as_value(b"c" + b"x" * 1_000_000 + b"\nsystem\n"),
    "a name that is no text": as_value(b"c\xff\xfe\nsystem\n"),
    "a nested tuple as a key": b"\x80\x02})\x85\x85\x85K\x01s.",
    "a nested tuple as a key among others": b"\x80\x02}(U\x01aK\x01)\x85\x85K\x01u.",
    "a number as a key": b"\x80\x02}K\x01K\x01s.",
    "an array of objects": array(b"K\x01\x85", DTYPE + b"U\x02O8K\x00K\x01\x87R", b"\x89", b"]U\x01aa"),
    "an array of floats": array(b"K\x01K\x01\x86", DTYPE + b"U\x02f8K\x00K\x01\x87R", b"\x89", string(b"8 bytes.")),
    "an array of signed bytes": array(b"K\x01K\x03\x86", DTYPE + b"U\x02i1K\x00K\x01\x87R", b"\x89", string(b"abc")),
    "an array without a type": array(b"K\x01K\x03\x86", b"N", b"\x89", string(b"abc")),
    "an array of a list": array(b"K\x01K\x03\x86", BYTES_TYPE, b"\x89", b"]"),
    "an array with columns first": array(b"K\x01K\x03\x86", BYTES_TYPE, b"\x88", string(b"abc")),
    "an array with too few bytes": array(b"K\x02K\x03\x86", BYTES_TYPE, b"\x89", string(b"abc")),
    "an array with too many bytes": array(b"K\x01K\x02\x86", BYTES_TYPE, b"\x89", string(b"abc")),
    "an array of negative sides": array(b"J\xff\xff\xff\xffJ\xfd\xff\xff\xff\x86", BYTES_TYPE, b"\x89", string(b"abc")),
    "an array of unknown side": array(b"J\xff\xff\xff\xffK\x03\x86", BYTES_TYPE, b"\x89", string(b"abc")),
    "an array of one axis": array(b"K\x03\x85", BYTES_TYPE, b"\x89", string(b"abc")),
    "an array of a thousand axes": array(b"(" + b"K\x01" * 999 + b"K\x03t", BYTES_TYPE, b"\x89", string(b"abc")),
    "an array whose shape is a list": array(b"](K\x01K\x03e", BYTES_TYPE, b"\x89", string(b"abc")),
    "an array whose sides are strings": array(b"U\x01aU\x01b\x86", BYTES_TYPE, b"\x89", string(b"abc")),
    "an array with a short state": as_value(EMPTY_ARRAY + b"(K\x01tb"),
    "an array whose type is an array": array(b"K\x01K\x03\x86", EMPTY_ARRAY, b"\x89", string(b"abc")),
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_pickle_is_refused_in_one_line_and_runs_nothing(content: bytes) -> None:
    refusal(content)


def test_a_refused_pickle_leaves_nothing_behind() -> None:
    def attributes() -> list[object]:
        return [dict(vars(each)) for each in (pickles._Array, pickles._Dtype, *pickles._ADMITTED.values())]

    before = attributes()
    for content in HOSTILE.values():
        refusal(content)
    assert attributes() == before


@pytest.mark.parametrize("opcode", [b"\x82", b"\x83", b"\x84"], ids=["EXT1", "EXT2", "EXT4"])
def test_a_class_with_an_extension_code_cannot_be_reached(opcode: bytes) -> None:
    code = 200
    copyreg.add_extension("os", "system", code)
    try:
        pickle._Unpickler(io.BytesIO(b"\x80\x02\x82\xc8.")).load()  # type: ignore[attr-defined]  # now it is cached
        refusal(as_value(opcode + code.to_bytes({b"\x82": 1, b"\x83": 2, b"\x84": 4}[opcode], "little")))
    finally:
        copyreg.remove_extension("os", "system", code)


MUCH = 300_000_000
BOMBS = {
    "a huge memo index": as_value(b"Nr" + struct.pack("<I", 0xFFFFFFF0)),
    "a huge string length": as_value(b"T" + struct.pack("<i", 0x7FFFFFFF)),
    "a negative string length": as_value(b"T" + struct.pack("<i", -1)),
    "a huge bytes length": as_value(b"B" + struct.pack("<I", MUCH)),
    "a huge long bytes length": as_value(b"\x8e" + struct.pack("<Q", MUCH)),
    "a huge bytearray length": as_value(b"\x96" + struct.pack("<Q", MUCH)),
    "an absurd bytearray length": as_value(b"\x96" + struct.pack("<Q", 2**62)),
    "a huge text length": as_value(b"X" + struct.pack("<I", MUCH)),
    "a huge frame": b"\x80\x04\x95" + struct.pack("<Q", MUCH) + b"}.",
    "a huge integer": as_value(b"\x8b" + struct.pack("<i", MUCH)),
    "a huge shape": array(b"J\xff\xff\xff\x7fJ\xff\xff\xff\x7f\x86", BYTES_TYPE, b"\x89", string(b"abc")),
    "a huge array of nothing": array(b"J\xff\xff\xff\x7fK\x01\x86", BYTES_TYPE, b"\x89", string(b"")),
}


@pytest.mark.parametrize("content", BOMBS.values(), ids=BOMBS.keys())
def test_an_announced_size_is_not_allocated(content: bytes) -> None:
    tracemalloc.start()
    try:
        found = read(content)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < 1_000_000
    # the memo is a dictionary, so an index of four billion allocates nothing
    assert isinstance(found, dict) == (content == BOMBS["a huge memo index"])


def test_an_array_that_was_never_filled_holds_no_pixels() -> None:
    assert read_pickled_dict(as_value(NDARRAY + b"(J\xff\xff\xff\x7ftR"), "empty") == {b"data": None}


def test_every_truncation_is_refused_at_the_end_of_the_file() -> None:
    for length in range(len(SMALL)):
        assert f"refused at byte {length}: " in refusal(SMALL[:length])


def test_random_damage_is_read_or_refused_and_runs_nothing() -> None:
    draw = random.Random(0)
    outcomes = {"read": 0, "refused": 0}
    skeleton = [i for i in range(len(SMALL)) if SMALL[i : i + 1] != b"b" or SMALL[i - 1 : i] != b"b"]
    for _ in range(3000):
        damaged = bytearray(SMALL)
        for _ in range(draw.randint(1, 3)):
            place = min(draw.choice(skeleton), len(damaged))
            match draw.choice(["set", "insert", "delete", "move"]):
                case "set":
                    damaged[place : place + 1] = draw.randbytes(1)
                case "insert":
                    damaged[place:place] = draw.randbytes(draw.randint(1, 4))
                case "delete":
                    del damaged[place : place + draw.randint(1, 4)]
                case "move":
                    start = draw.randrange(len(SMALL))
                    damaged[place:place] = SMALL[start : start + draw.randint(1, 30)]
        found = read(bytes(damaged))
        outcomes["refused" if isinstance(found, str) else "read"] += 1
        if isinstance(found, dict):
            assert all(type(key) is bytes for key in found)
    assert min(outcomes.values()) > 50, outcomes
