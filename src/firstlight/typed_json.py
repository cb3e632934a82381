"""Read JSON files that others wrote: every field is checked against a declared type and range, at one place.

A file is declared as a `TypedDict`; numbers have a range, `Annotated[int, Between(0, 10)]`. Other fields
are kept unchecked, so that a newer version may add some.
"""

from __future__ import annotations

import json
import math
import reprlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NotRequired, Union, get_args, get_origin, get_type_hints, is_typeddict

from firstlight.errors import RunError
from firstlight.files import MAX_TEXT_BYTES, read_text
from firstlight.paths import has_control_characters


@dataclass(frozen=True)
class Between:
    """The range of a number, both ends included."""

    low: int | float
    high: int | float

    def __str__(self) -> str:
        if math.isinf(self.high):
            return f"of {self.low:g} or more"
        return f"from {self.low:g} to {self.high:g}"


class AnyText:
    """Text that may have control characters, such as a path; other text may not, because terminals obey them."""


Share = Annotated[float, Between(0, 1)]
Amount = Annotated[float, Between(0, math.inf)]
Count = Annotated[int, Between(0, 10**12)]
PathText = Annotated[str, AnyText]


class FieldError(ValueError):
    """A field is missing, or has another type or range."""


def read_json(path: Path, kind: Any, advice: str, max_bytes: int = MAX_TEXT_BYTES) -> dict[str, Any]:
    """Return the content of a JSON file whose fields have their declared types.

    Args:
        path: Path of the file.
        kind: TypedDict that declares its fields.
        advice: What the user can do about a damaged file, for errors.
        max_bytes: Largest size of the file.

    Raises:
        RunError: The file cannot be read, or a field is missing or has another type; one line names file and field.
    """
    try:
        found: dict[str, Any] = json.loads(read_text(path, max_bytes))
    except (OSError, ValueError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or "it is not JSON"
        raise RunError(f"{path}: cannot be read ({reason}); {advice}") from error
    try:
        check(found, kind, "")
    except FieldError as error:
        raise RunError(f"{path}: {error}; {advice}") from error
    return found


def check(value: Any, kind: Any, name: str) -> None:
    """Raise FieldError unless a value has a declared type.

    Args:
        value: Value from JSON or from a checkpoint.
        kind: TypedDict, dict, list, Literal, `X | None`, Annotated with a range, or a class.
        name: Dotted name of the field; empty for the whole file.

    >>> check({"top": [1, 2]}, dict[str, list[Annotated[int, Between(0, 1)]]], "")
    Traceback (most recent call last):
    ...
    firstlight.typed_json.FieldError: top.1 must be a whole number from 0 to 1, not 2
    """
    if kind is Any:
        return
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        if value is not None:
            check(value, next(each for each in arguments if each is not NoneType), name)
    elif is_typeddict(kind):
        _check_fields(value, kind, name)
    elif not _matches(value, kind):
        raise FieldError(f"{name or 'the content'} must be {describe(kind)}, not {reprlib.repr(value)}")
    elif origin in (dict, list):
        for key, each in _items(value):
            if isinstance(key, str) and has_control_characters(key):
                raise FieldError(f"{name or 'the content'} must have names without control characters")
            check(each, arguments[-1], f"{name}.{key}".lstrip("."))
    elif origin is tuple:
        for index, each in enumerate(arguments):
            check(value[index], each, f"{name}.{index}".lstrip("."))


def _check_fields(value: Any, kind: Any, name: str) -> None:
    if not isinstance(value, dict):
        raise FieldError(f"{name or 'the content'} must be named values, not {reprlib.repr(value)}")
    for field, declared in get_type_hints(kind, include_extras=True).items():
        is_optional = get_origin(declared) is NotRequired
        inner = get_args(declared)[0] if is_optional else declared
        where = f"{name}.{field}".lstrip(".")
        if field in value:
            check(value[field], inner, where)
        elif not is_optional:
            raise FieldError(f"{where} is missing: it must be {describe(inner)}")


def _matches(value: Any, kind: Any) -> bool:
    """Return whether a value has a plain type; the elements of a container are not looked at."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        base, rule = arguments
        if rule is AnyText:
            return isinstance(value, str)
        return _matches(value, base) and rule.low <= value <= rule.high
    if origin is Literal:
        return isinstance(value, str | int) and value in arguments
    if origin is tuple:
        return isinstance(value, list) and len(value) == len(arguments)
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if kind is str:
        return isinstance(value, str) and not has_control_characters(value)
    if kind is int:
        return type(value) is int
    return isinstance(value, origin or kind)


def describe(kind: Any) -> str:
    """Return what a type expects, in words.

    >>> describe(Share), describe(list[bool]), describe(int | None)
    ('a number from 0 to 1', 'a list of true or false', 'a whole number or null')
    """
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return "text" if arguments[1] is AnyText else f"{describe(arguments[0])} {arguments[1]}"
    if origin in (Union, UnionType):
        return f"{describe(next(each for each in arguments if each is not NoneType))} or null"
    if origin is Literal:
        return f"one of {', '.join(map(str, arguments))}"
    if origin is tuple:
        return f"a list of {len(arguments)} values"
    if origin is list:
        return f"a list of {describe(arguments[0])}"
    if origin is dict or is_typeddict(kind):
        return "named values"
    names = {
        float: "a number",
        int: "a whole number",
        str: "text without control characters",
        bool: "true or false",
        list: "a list",
        dict: "named values",
    }
    return names.get(kind, getattr(kind, "__name__", "another value"))


def _items(value: Any) -> Iterator[tuple[Any, Any]]:
    return iter(value.items() if isinstance(value, dict) else enumerate(value))
