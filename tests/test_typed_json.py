"""Each declared field is checked for its type and range; one line names file, field and what was expected."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Annotated, Any, Literal, NotRequired, TypedDict

import pytest

from firstlight.errors import RunError
from firstlight.typed_json import Between, PathText, Share, read_json


class Inner(TypedDict):
    kind: Literal["a", "b"]


class Outer(TypedDict):
    share: Share
    count: Annotated[int, Between(0, 10)]
    name: str
    pair: tuple[int, str]
    rows: NotRequired[list[list[int]]]
    inner: NotRequired[Inner | None]
    by_name: NotRequired[dict[str, float]]
    place: NotRequired[PathText]


WHOLE: dict[str, Any] = {"share": 1, "count": 3, "name": "x", "pair": [1, "y"]}


def read(tmp_path: Path, content: Any) -> dict[str, Any]:
    path = tmp_path / "file.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return read_json(path, Outer, "write it again", max_bytes=10_000)


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"inner": None},
        {"inner": {"kind": "b"}},
        {"rows": []},
        {"rows": [[1], []]},
        {"by_name": {"a": 0.5}},
        {"place": "two\nlines"},
        {"unknown": {"is": ["kept"]}},
    ],
)
def test_a_right_file_is_read_unchanged(tmp_path: Path, more: dict[str, Any]) -> None:
    assert read(tmp_path, WHOLE | more) == WHOLE | more


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"share": 1.5}, "share must be a number from 0 to 1, not 1.5"),
        ({"share": math.nan}, "share must be a number from 0 to 1, not nan"),
        ({"share": True}, "share must be a number from 0 to 1, not True"),
        ({"share": "0.5"}, "share must be a number from 0 to 1, not '0.5'"),
        ({"count": 3.0}, "count must be a whole number from 0 to 10, not 3.0"),
        ({"count": -1}, "count must be a whole number from 0 to 10, not -1"),
        ({"count": 10**400}, "count must be a whole number from 0 to 10"),
        ({"name": None}, "name must be text without control characters, not None"),
        ({"name": "\x1b[2J"}, r"name must be text without control characters, not '\\x1b\[2J'"),
        ({"pair": [1]}, r"pair must be a list of 2 values, not \[1\]"),
        ({"pair": [1, 2]}, "pair.1 must be text without control characters, not 2"),
        ({"rows": [[1], ["x"]]}, "rows.1.0 must be a whole number, not 'x'"),
        ({"rows": {}}, "rows must be a list of a list of a whole number"),
        ({"inner": {"kind": "c"}}, "inner.kind must be one of a, b, not 'c'"),
        ({"inner": {"kind": ["a"]}}, "inner.kind must be one of a, b"),
        ({"inner": {}}, "inner.kind is missing: it must be one of a, b"),
        ({"inner": 7}, "inner must be named values, not 7"),
        ({"by_name": {"a": math.inf}}, "by_name.a must be a number, not inf"),
        ({"by_name": {"\x1b": 1}}, "by_name must have names without control characters"),
    ],
)
def test_a_wrong_field_is_named_in_one_line(tmp_path: Path, more: dict[str, Any], says: str) -> None:
    with pytest.raises(RunError, match=says) as caught:
        read(tmp_path, WHOLE | more)
    line = str(caught.value)
    assert line.startswith(f"{tmp_path}/file.json: ")
    assert line.endswith("; write it again")
    assert line.isprintable()
    assert len(line) < 400


@pytest.mark.parametrize("content", ["", "[]", "7", "{", "[" * 9000, "x" * 20_000, '{"share": 1}'])
def test_another_content_is_refused_in_one_line(tmp_path: Path, content: str) -> None:
    with pytest.raises(RunError, match=r"file\.json: .*; write it again"):
        read(tmp_path, content)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "file.json")
    with pytest.raises(RunError, match="it is not a regular file"):
        read_json(tmp_path / "file.json", Outer, "write it again")
