"""Find the columns of images and labels of a Hugging Face data set by the types of its features."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from firstlight.errors import UsageError

INTEGERS_AND_TEXTS = ("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "string", "large_string")
BYTES = ("binary", "large_binary")
LABEL_NAMES = ("label", "labels", "class", "target", "fine_label")  # chosen among columns of plain values


class Columns(NamedTuple):
    """The columns of a table of images; an empty name is found by the types of the features.

    Args:
        image: Name of the column of images.
        label: Name of the column of labels.
    """

    image: str = ""
    label: str = ""


def find_columns(features: Mapping[str, Any], wanted: Columns, name: str) -> Columns:
    """Return the columns of images and labels.

    A column of images has the feature `Image`, or bytes, alone or as a struct of `bytes` and `path`. A column of labels
    has the feature `ClassLabel`, or else integers or texts. A column that `wanted` names must have such a type.

    Args:
        features: Feature of each column, as `datasets` gives them.
        wanted: Columns that the user named.
        name: Name of the data set for messages.

    Raises:
        UsageError: A named column is missing or has another type, or none or several columns may be meant.
    """
    images = [column for column, feature in features.items() if is_image(feature)]
    classes = [column for column, feature in features.items() if type(feature).__name__ == "ClassLabel"]
    values = [column for column, feature in features.items() if _is_value(feature, INTEGERS_AND_TEXTS)]
    image = _choose("image", images, wanted.image, features, name)
    if wanted.label or len(classes) > 1:
        return Columns(image, _choose("label", classes + values, wanted.label, features, name, found=classes))
    if not classes and len(values) > 1:
        values = [column for column in LABEL_NAMES if column in values][:1] or values
    return Columns(image, _choose("label", classes or values, "", features, name))


def is_image(feature: Any) -> bool:
    """Return whether a feature holds encoded images: `Image`, bytes, or a struct with bytes."""
    held = feature.get("bytes") if isinstance(feature, Mapping) else feature
    return type(feature).__name__ == "Image" or _is_value(held, BYTES)


def _is_value(feature: Any, types: tuple[str, ...]) -> bool:
    return type(feature).__name__ == "Value" and feature.dtype in types


def _choose(
    kind: str,
    possible: list[str],
    wanted: str,
    features: Mapping[str, Any],
    name: str,
    found: list[str] | None = None,
) -> str:
    """Return the wanted column, or the only possible one."""
    held = ", ".join(f"{column} ({_type_of(feature)})" for column, feature in features.items())
    if wanted:
        if wanted not in features:
            raise UsageError(f"{name}: has no column {wanted!r} for --{kind}_column. Its columns: {held}")
        if wanted not in possible:
            raise UsageError(f"{name}: the column {wanted!r} holds no {kind}s. Its columns: {held}")
        return wanted
    candidates = possible if found is None else found
    if not candidates:
        raise UsageError(f"{name}: has no column of {kind}s. Its columns: {held}")
    if len(candidates) > 1:
        raise UsageError(f"{name}: choose one of its columns with --{kind}_column: {', '.join(candidates)}")
    return candidates[0]


def _type_of(feature: Any) -> str:
    return str(getattr(feature, "dtype", "")) if type(feature).__name__ == "Value" else type(feature).__name__
