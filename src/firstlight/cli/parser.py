"""The argument parser of every verb: jsonargparse, with errors of one line; the names of files to draw."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from jsonargparse import ArgumentParser, Namespace

from firstlight.errors import UsageError
from firstlight.paths import user_path

FIGURE_SUFFIXES = (".png", ".svg", ".pdf")
OPENS_RUNS = frozenset(("app", "audit", "compare", "explain", "export", "predict", "report", "summary", "test"))
NETWORK_MODULE_HELP = "import this module first; it defines the network of the run, a class of your own that you trust"


class Parser(ArgumentParser):
    """An `ArgumentParser` that reports what is wrong in one line and leaves the exit to the caller."""

    def __init__(self, verb: str, description: str, **options: Any) -> None:
        super().__init__(prog=f"firstlight {verb}", description=description, env_prefix=False, **options)
        if verb in OPENS_RUNS:
            self.add_argument("--network_module", type=str, default=None, metavar="MODULE", help=NETWORK_MODULE_HELP)

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Raise a UsageError with the message in one line."""
        text = " ".join(str(message).split()).removesuffix(".")
        raise UsageError(f"{text}. See `{self.prog} --help`") from ex

    def parse(self, arguments: Sequence[str]) -> Namespace:
        """Return the parsed and typed arguments, nested configurations as objects.

        Imports the module that `--network_module` names, so that the network of a run is found.
        """
        parsed = self.parse_args(list(arguments))
        module = parsed.pop("network_module", None)
        if module is not None:
            from firstlight.networks.custom import import_network_module

            import_network_module(module)
        return self.instantiate(parsed)


def figure_path(option: str, name: str) -> Path:
    """Return the path of a file to draw.

    Raises:
        UsageError: it ends in no format that is drawn here.

    >>> figure_path("--out", "sheet.svg").suffix
    '.svg'
    """
    path = user_path(name)
    if path.suffix not in FIGURE_SUFFIXES:
        raise UsageError(f"{option} {path}: the name must end in {', '.join(FIGURE_SUFFIXES)}")
    return path
