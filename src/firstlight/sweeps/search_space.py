"""The search space of a sweep: which fields of a recipe are searched, and where. Imports no Optuna."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml

from firstlight.errors import UsageError
from firstlight.files import read_text
from firstlight.recipes.config import MAX_RECIPE_BYTES, Recipe
from firstlight.recipes.nested import from_dict

# Fields that a sweep sets itself, or that choose another set of fields.
FIXED = ("name", "data", "image_size", "num_val", "seed", "network.name", "optimizer.name")
KEYS = frozenset(("low", "high", "step", "log", "choices", "when"))
Choice = bool | int | float | str


@dataclass(frozen=True)
class Parameter:
    """One searched field of a recipe: a range of numbers, or a list of choices.

    Args:
        name: Dotted name of the field, for instance "optimizer.learning_rate".
        kind: `int`, `float`, `str` or `bool`: the type of the field.
        low: Smallest value of a range.
        high: Largest value of a range.
        step: Distance of the values of a range; None allows all.
        log: Whether the range is searched on a logarithmic scale.
        choices: Values to choose from; empty for a range.
        when: Values that other searched fields must have for this one to be searched, by their names. Otherwise the
            field has the recipe's value.
    """

    name: str
    kind: type
    low: float | int | None = None
    high: float | int | None = None
    step: float | int | None = None
    log: bool = False
    choices: tuple[Choice, ...] = ()
    when: Mapping[str, tuple[Choice, ...]] = field(default_factory=dict)

    @property
    def extremes(self) -> tuple[Choice, ...]:
        """The choices, or the two ends of the range."""
        if self.choices:
            return self.choices
        assert self.low is not None
        assert self.high is not None
        return self.low, self.high

    def is_active(self, values: Mapping[str, Choice]) -> bool:
        """Return whether the field is searched beside these values of the fields before it."""
        return all(values.get(name) in allowed for name, allowed in self.when.items())

    def nearest(self, value: Any) -> Choice:
        """Return the value of the space that is nearest to a value: the value itself if the space holds it."""
        if self.choices:
            return value if value in self.choices else self.choices[0]
        assert self.low is not None
        assert self.high is not None
        inside = min(max(value, self.low), self.high)
        return inside if self.step is None else self.low + round((inside - self.low) / self.step) * self.step


@dataclass(frozen=True)
class SearchSpace:
    """The searched fields of a recipe.

    Args:
        parameters: The fields, in the order in which values are chosen.
        recipe: Recipe whose values the other fields have.
        description: The space as plain values, from which `space_of` makes it again.
    """

    parameters: tuple[Parameter, ...]
    recipe: Recipe
    description: Mapping[str, Any] = field(default_factory=dict)

    def apply(self, values: Mapping[str, Choice]) -> Recipe:
        """Return the recipe with these values of its fields.

        Raises:
            UsageError: The recipe refuses a value.
        """
        changed = self.recipe.to_dict()
        for name, value in values.items():
            *parts, last = name.split(".")
            target = changed
            for part in parts:
                target = target[part]
            target[last] = value
        return from_dict(Recipe, changed)

    def default_values(self) -> dict[str, Choice]:
        """Return the recipe's own values, or the nearest ones of the space."""
        flat, values = self.recipe.flat(), dict[str, Choice]()
        for parameter in self.parameters:
            if parameter.is_active(values):
                values[parameter.name] = parameter.nearest(flat[parameter.name])
        return values

    def outside(self) -> list[str]:
        """Return the fields whose value in the recipe is not in the space."""
        flat = self.recipe.flat()
        return [name for name, value in self.default_values().items() if value != flat[name]]


def read_space(path: Path, recipe: Recipe) -> SearchSpace:
    """Read a search space from a YAML file, and check that the recipe accepts each end and each choice.

        optimizer.learning_rate: {low: 0.002, high: 0.05, log: true}
        label_smoothing: {low: 0.0, high: 0.2, step: 0.05}
        averaging: {choices: [0.0, 0.9, 0.99]}

    Args:
        path: The file.
        recipe: Recipe whose fields are searched.

    Raises:
        UsageError: The file cannot be read, or names an unknown field, or a value that the recipe refuses.
    """
    try:
        found = yaml.safe_load(read_text(path, MAX_RECIPE_BYTES))
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UsageError(f"{path}: cannot be read as a search space ({first})") from error
    return space_of(found, recipe, str(path))


def space_of(found: Any, recipe: Recipe, source: str) -> SearchSpace:
    """Return the search space that plain values describe; see `read_space`.

    Args:
        found: Description of each field by its dotted name.
        recipe: Recipe whose fields are searched.
        source: What messages name as the origin of the values.

    Raises:
        UsageError: See `read_space`.
    """
    if not isinstance(found, dict) or not found:
        raise UsageError(f"{source}: name at least one field, as in 'batch_size: {{low: 64, high: 256}}'")
    parameters: list[Parameter] = []
    for name, values in found.items():
        try:
            parameters.append(_parameter(name, values, recipe, parameters))
            space = SearchSpace(tuple(parameters), recipe, found)
            for value in parameters[-1].extremes:
                space.apply({parameters[-1].name: value})
        except (UsageError, TypeError) as error:
            raise UsageError(f"{source}: {name}: {error}") from error
    return space


def _parameter(name: Any, values: Any, recipe: Recipe, before: Sequence[Parameter]) -> Parameter:
    flat = recipe.flat()
    if name in FIXED:
        raise UsageError("is not searched; choose it with an option of the sweep")
    if name not in flat:
        similar = get_close_matches(str(name), flat, n=1)
        raise UsageError(f"the recipe has no such field{f'; did you mean {similar[0]}?' if similar else ''}")
    if not isinstance(values, dict) or not set(values) <= KEYS:
        raise UsageError("needs low and high, or choices; step, log and when are optional")
    kind = type(flat[name])
    when = _conditions(values.get("when", {}), before)
    if "choices" in values:
        if set(values) - {"choices", "when"}:
            raise UsageError("has choices, so it takes no low, high, step or log")
        return Parameter(name, kind, choices=_choices(values["choices"], kind), when=when)
    if kind not in (int, float):
        raise UsageError("is not a number, so it needs choices")
    return Parameter(name, kind, **_range(values, kind), when=when)


def _choices(values: Any, kind: type) -> tuple[Choice, ...]:
    admitted = (int, float) if kind is float else (kind,)
    if not isinstance(values, list) or not values or any(type(value) not in admitted for value in values):
        raise UsageError(f"choices must be a list of values of type {kind.__name__}")
    return tuple(dict.fromkeys(kind(value) for value in values))


def _range(values: Mapping[str, Any], kind: type) -> dict[str, Any]:
    numbers = {key: values[key] for key in ("low", "high", "step") if values.get(key) is not None}
    admitted = (int, float) if kind is float else (int,)
    for key, value in numbers.items():
        if type(value) not in admitted:
            raise UsageError(f"{key} must be a number of type {kind.__name__}, not {value!r}")
    if not {"low", "high"} <= set(numbers):
        raise UsageError("needs low and high, or choices")
    if not numbers["low"] < numbers["high"]:
        raise UsageError(f"low must be below high, not {numbers['low']} and {numbers['high']}")
    log = values.get("log", False)
    if type(log) is not bool:
        raise UsageError(f"log must be true or false, not {log!r}")
    if log and (numbers["low"] <= 0 or "step" in numbers):
        raise UsageError("on a logarithmic scale low must be above 0, and there is no step")
    if numbers.get("step", 1) <= 0:
        raise UsageError(f"step must be above 0, not {numbers['step']}")
    return {key: kind(value) for key, value in numbers.items()} | {"log": log}


def _conditions(found: Any, before: Sequence[Parameter]) -> dict[str, tuple[Choice, ...]]:
    known = {parameter.name for parameter in before}
    if not isinstance(found, dict) or not set(found) <= known:
        raise UsageError("when must name searched fields above this one, with the values that they must have")
    return {name: tuple(values) if isinstance(values, list) else (values,) for name, values in found.items()}
