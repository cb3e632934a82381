"""The argument parser of the verbs: jsonargparse with one-line errors; and the check of a figure's file name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from jsonargparse import ArgumentParser, Namespace

from firstlight.errors import UsageError
from firstlight.paths import user_path

FIGURE_SUFFIXES = (".png", ".svg", ".pdf")
OPENS_RUNS = frozenset(("app", "explain", "export", "predict", "report", "summary", "test"))
NETWORK_MODULE_HELP = "module with the class of the run's network, if it is your own; importing it runs its code"
METHOD_HELP = (
    "grad_cam, grad_cam_pp, hires_cam, layer_cam, or auto: the method and the stage that `firstlight explain "
    "--evaluate` has found most faithful"
)


class Parser(ArgumentParser):
    """A jsonargparse parser that raises a one-line UsageError instead of exiting."""

    def __init__(self, verb: str, description: str, **options: Any) -> None:
        super().__init__(prog=f"firstlight {verb}", description=description, env_prefix=False, **options)
        if verb in OPENS_RUNS:
            self.add_argument("--network_module", type=str, default=None, metavar="MODULE", help=NETWORK_MODULE_HELP)

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Raise a UsageError with the message in one line."""
        text = " ".join(str(message).split()).removesuffix(".")
        raise UsageError(f"{text}. See `{self.prog} --help`") from ex

    def parse(self, arguments: Sequence[str]) -> Namespace:
        """Parse the arguments into typed values; nested configurations become objects.

        Imports the module that `--network_module` names, so that the network of a run is found.
        """
        parsed = self.parse_args(list(arguments))
        module = parsed.pop("network_module", None)
        if module is not None:
            from firstlight.networks.custom import import_network_module

            import_network_module(module)
        return self.instantiate(parsed)


def figure_path(option: str, name: str) -> Path:
    """Return the path of a figure's file.

    Raises:
        UsageError: The file name has none of the suffixes .png, .svg and .pdf.

    >>> figure_path("--out", "sheet.svg").suffix
    '.svg'
    """
    path = user_path(name)
    if path.suffix not in FIGURE_SUFFIXES:
        raise UsageError(f"{option} {path}: the name must end in {', '.join(FIGURE_SUFFIXES)}")
    return path
