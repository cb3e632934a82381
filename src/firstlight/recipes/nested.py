"""Convert between nested dictionaries of plain values and frozen configurations."""

from __future__ import annotations

import reprlib
from dataclasses import asdict, fields, is_dataclass
from typing import Any, Literal, get_args, get_origin, get_type_hints

from firstlight.errors import UsageError


def from_dict(cls: type, values: Any, prefix: str = "") -> Any:
    """Build a frozen configuration from nested dictionaries of plain values.

    Args:
        cls: Class of the configuration, a dataclass.
        values: Values by the name of the field; fields that are left out have their defaults.
        prefix: Text before the name of a field in messages, for instance "optimizer.".

    Raises:
        TypeError: `values` is not a dictionary, or has a name that is not a field.
        UsageError: A value has the wrong type or is out of range.

    >>> from firstlight.recipes.optimizer_config import OptimizerConfig
    >>> from_dict(OptimizerConfig, {"learning_rate": 0.1}).learning_rate
    0.1
    """
    if not isinstance(values, dict):
        raise TypeError(f"{_owner(prefix)} needs named values, not {type(values).__name__}")
    known = {field.name: field for field in fields(cls)}
    unknown = set(values) - set(known)
    if unknown:
        raise TypeError(f"{_owner(prefix)} has no field {', '.join(sorted(map(str, unknown)))}")
    values = {name: check_field(cls, name, value, prefix) for name, value in values.items()}
    nested = {name: _nested_type(cls, name, values[name]) for name in values if is_dataclass(known[name].default)}
    return cls(**{name: _nested(nested[name], v, f"{name}.") if name in nested else v for name, v in values.items()})


def _owner(prefix: str) -> str:
    return prefix.removesuffix(".") or "a recipe"


def _nested(cls: type, values: Any, prefix: str) -> Any:
    """Build a nested configuration; a class with options of any name has its own `from_values`."""
    return cls.from_values(values) if hasattr(cls, "from_values") else from_dict(cls, values, prefix)


def _nested_type(cls: type, name: str, values: Any) -> type:
    """Return the class of a nested configuration; if a field allows several classes, `name` selects one."""
    kinds = get_args(get_type_hints(cls)[name])
    wanted = values.get("name") if isinstance(values, dict) else None
    if wanted is None or not kinds:
        return type(next(field.default for field in fields(cls) if field.name == name))
    names = {value: config for config in kinds for value in get_args(get_type_hints(config)["name"])}
    if wanted in names:
        return names[wanted]
    by_import_path = next((config for config in kinds if hasattr(config, "from_values")), None)
    if by_import_path and isinstance(wanted, str) and ":" in wanted:
        return by_import_path
    advice = "; a class of your own is named package.module:Class" if by_import_path else ""
    raise UsageError(f"{name}.name must be one of {', '.join(names)}, not {reprlib.repr(wanted)}{advice}")


def check_field(cls: type, name: str, value: Any, prefix: str = "") -> Any:
    """Check the type of a value for field `name`, and return the value; an int for a float field becomes a float.

    The check is needed because YAML yields values of any type. A message names the field as the user writes it, with
    the prefix, for instance `optimizer.momentum`.

    Raises:
        UsageError: The value has another type, or is not among the values of a Literal.
    """
    kind = get_type_hints(cls)[name]
    if get_origin(kind) is Literal:
        if value not in get_args(kind):
            raise UsageError(
                f"{prefix}{name} must be one of {', '.join(map(str, get_args(kind)))}, not {reprlib.repr(value)}"
            )
    elif kind in (bool, int, float, str):
        admitted = (int, float) if kind is float else (kind,)
        if type(value) not in admitted:
            raise UsageError(f"{prefix}{name} must be of type {kind.__name__}, not {reprlib.repr(value)}")
        return kind(value)
    return value


def flatten(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested dictionaries and dataclasses as one dictionary with dotted names.

    >>> flatten({"seed": 1, "network": {"width": 64}})
    {'seed': 1, 'network.width': 64}
    """
    flat: dict[str, Any] = {}
    for name, value in values.items():
        nested = asdict(value) if is_dataclass(value) and not isinstance(value, type) else value
        flat |= flatten(nested, f"{prefix}{name}.") if isinstance(nested, dict) else {prefix + name: nested}
    return flat
