"""Typed signatures for constructors that pass `**options` on."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TypeVar, get_type_hints

_Constructor = TypeVar("_Constructor", bound=Callable[..., None])


def accepts_arguments_of(source: type) -> Callable[[_Constructor], _Constructor]:
    """Replace `**options` in a constructor's signature by the arguments of the class that receives them.

    Editors, `help` and command lines such as Lightning's `LightningCLI` then know every argument, its type, its
    default and its description. How the constructor runs does not change.

    Args:
        source: Class whose constructor receives `**options`. An argument that both constructors name keeps its own
            type and default.

    >>> import inspect
    >>> class Network:
    ...     def __init__(self, width: int = 8) -> None: ...
    >>> class Model:
    ...     @accepts_arguments_of(Network)
    ...     def __init__(self, num_classes: int, **options) -> None: ...
    >>> str(inspect.signature(Model))
    '(num_classes: int, *, width: int = 8) -> None'
    """
    received = source.__init__  # type: ignore[misc]  # of the class, not of an instance

    def decorate(constructor: _Constructor) -> _Constructor:
        own, types = inspect.signature(constructor), get_type_hints(constructor) | {"return": None}
        parameters = {name: each for name, each in own.parameters.items() if each.kind is not each.VAR_KEYWORD}
        for name, each in inspect.signature(received).parameters.items():
            parameters.setdefault(name, each.replace(kind=each.KEYWORD_ONLY))
        types = get_type_hints(received) | types
        typed = [each.replace(annotation=types.get(name, each.annotation)) for name, each in parameters.items()]
        constructor.__signature__ = own.replace(parameters=typed, return_annotation=None)  # type: ignore[attr-defined]
        constructor.__doc__ = received.__doc__ if "Args:" in (received.__doc__ or "") else source.__doc__
        return constructor

    return decorate
