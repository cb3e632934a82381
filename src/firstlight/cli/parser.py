"""The argument parser of every verb: jsonargparse, with errors of one line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn

from jsonargparse import ArgumentParser, Namespace

from firstlight.errors import UsageError


class Parser(ArgumentParser):
    """An `ArgumentParser` that reports what is wrong in one line and leaves the exit to the caller."""

    def __init__(self, verb: str, description: str, **options: Any) -> None:
        super().__init__(prog=f"firstlight {verb}", description=description, env_prefix=False, **options)

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Raise a UsageError with the message in one line."""
        text = " ".join(str(message).split()).removesuffix(".")
        raise UsageError(f"{text}. See `{self.prog} --help`") from ex

    def parse(self, arguments: Sequence[str]) -> Namespace:
        """Return the parsed and typed arguments, nested configurations as objects."""
        return self.instantiate(self.parse_args(list(arguments)))
