"""The argument parser of the verbs: jsonargparse with one-line errors; and the check of a figure's file name."""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NoReturn

from jsonargparse import ArgumentParser, Namespace

from firstlight.errors import UsageError
from firstlight.paths import user_path

FIGURE_SUFFIXES = (".png", ".svg", ".pdf")
OPENS_RUNS = frozenset(("app", "audit", "compare", "explain", "export", "predict", "report", "summary", "test"))
DATA_DIR_HELP = (
    "folder that holds the data sets, or a folder of your own images with one subfolder per class, a zip or tar of it, "
    "or a CSV of file and label"
)
COLUMN_HELP = "column of the {kind}s of a Hugging Face data set, if its type does not tell"
DECISIONS_HELP = (
    "a CSV file of decisions, as the page of an audit saves it: images to keep, to drop, or whose label to change"
)
NETWORK_MODULE_HELP = "module with the class of the run's network, if it is your own; importing it runs its code"
METHODS_HELP = (
    "grad_cam, grad_cam_pp, hires_cam, layer_cam, xgrad_cam, eigen_cam; slow: score_cam, ablation_cam, "
    "integrated_gradients, smooth_grad, occlusion, rise"
)
METHOD_HELP = (
    f"attribution method of the maps: {METHODS_HELP}; or auto for the method and the stage that `firstlight explain "
    "--evaluate` has found most faithful"
)


_WRONG_TYPE = re.compile(r'Parser key "(?P<key>[\w.]+)": Expected a (?P<expected>.+?)\. Got value: (?P<value>.*)')


def add_column_options(parser: ArgumentParser) -> None:
    """Add the options that name the columns of a Hugging Face data set."""
    for kind in ("image", "label"):
        parser.add_argument(f"--{kind}_column", type=str, default="", help=COLUMN_HELP.format(kind=kind))


class Parser(ArgumentParser):
    """A jsonargparse parser that raises a one-line UsageError instead of exiting."""

    def __init__(self, verb: str, description: str, **options: Any) -> None:
        fixed: dict[str, Any] = {"env_prefix": False, "allow_abbrev": False}  # no misspelt option passes for another
        super().__init__(prog=f"firstlight {verb}", description=description, **fixed, **options)
        if verb in OPENS_RUNS:
            self.add_argument("--network_module", type=str, default=None, metavar="MODULE", help=NETWORK_MODULE_HELP)

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Raise a UsageError with the message in one line."""
        text = _reword_error(" ".join(str(message).split()).removesuffix("."))
        unknown = re.match(r"[Uu]nrecognized arguments: (--[\w.]+)", text)
        if unknown:
            known = [option for action in self._actions for option in action.option_strings]
            similar = get_close_matches(unknown[1], known, n=1)
            text += f": did you mean {similar[0]}?" if similar else ""
        raise UsageError(f"{text}. See `{self.prog} --help`") from ex

    def parse(self, arguments: Sequence[str]) -> Namespace:
        """Parse the arguments into typed values; nested configurations become objects.

        The module that `--network_module` names is imported, so that the class of the run's network is found.
        """
        parsed = self.parse_args(list(arguments))
        module = parsed.pop("network_module", None)
        if module is not None:
            from firstlight.networks.custom import import_network_module

            import_network_module(module)
        return self.instantiate(parsed)


def _reword_error(message: str) -> str:
    r"""Return jsonargparse's message about a wrong value with the option and the type as a user writes them.

    >>> _reword_error("Parser key \"config\": File does not exist: 'none.yaml'")
    "--config: File does not exist: 'none.yaml'"
    >>> _reword_error("Parser key \"count\": Expected a <class 'int'>. Got value: x")
    "--count must be of type int, not 'x'"
    >>> _reword_error("Parser key \"views\": Expected a typing.Literal['single', 'flip']. Got value: many")
    "--views must be one of single, flip, not 'many'"
    """
    found = _WRONG_TYPE.fullmatch(message)
    if found is None:
        return re.sub(r'^Parser key "([\w.]+)": ', r"--\1: ", message)
    choices = re.fullmatch(r"typing\.Literal\[(.*)\]", found["expected"])
    kind = re.fullmatch(r"<class '(\w+)'>", found["expected"])
    if choices:
        expected = f"one of {choices[1].replace(chr(39), '')}"
    else:
        expected = f"of type {kind[1] if kind else found['expected']}"
    return f"--{found['key']} must be {expected}, not {found['value']!r}"


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
