"""The command line: chooses the verb before importing anything large."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence
from importlib import import_module

from firstlight.errors import FirstlightError, StoppedError

# Each verb is a module beside this one with `run(arguments) -> None`.
VERBS = {
    "demo": "train, test and explain on the embedded data, in a minute or two",
    "fit": "train and test by a recipe, and write a run folder",
    "test": "test a run again",
    "explain": "draw the mistakes of a run, with the evidence for their classes",
    "report": "write one HTML page about a run: metrics, mistakes, maps",
    "predict": "classify your own images",
    "app": "serve the live demo: classify pictures, and see the evidence",
    "export": "write a folder to share: for a model hub, or a Hugging Face Space",
    "show": "draw the data: samples, classes, channels, augmentation",
    "summary": "print the layer table of a network, draw its diagram",
    "download": "fetch and verify a data set",
    "bench": "measure this machine, and estimate how long each recipe takes",
    "recipes": "list the recipes: what each is for, and what it reaches",
}

EXIT_USER_ERROR = 2

HELP = """usage: firstlight VERB [OPTION ...]

Trains a small-image classifier in seconds to minutes, and shows what it gets wrong and why.

{verbs}

Start with `firstlight demo`. `firstlight VERB --help` lists the options of a verb.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb and return the exit status.

    It is 0 without an error, 2 after an error that the user can fix, which is printed in one line, and 130 or 143 if a
    signal has stopped the verb.
    """
    _escape_unencodable_output()
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(_help(), end="")
        return 0
    if arguments[0] == "--version":
        print(_version())
        return 0
    verb, rest = arguments[0], arguments[1:]
    if verb not in VERBS:
        print(f"firstlight: no verb {verb!r}; choose one of {', '.join(VERBS)}", file=sys.stderr)
        return EXIT_USER_ERROR
    try:
        import_module(f"firstlight.cli.{verb}").run(rest)
        sys.stdout.flush()
    except FirstlightError as error:
        print(f"firstlight {verb}: {' '.join(str(error).split())}", file=sys.stderr)
        return EXIT_USER_ERROR
    except StoppedError as error:
        print(f"firstlight {verb}: {error}", file=sys.stderr)
        return error.exit_status
    except KeyboardInterrupt:
        print(f"firstlight {verb}: stopped", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader, `head` for instance, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _escape_unencodable_output() -> None:
    """Print characters that the terminal cannot encode as escapes, because file and class names may hold any."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _help() -> str:
    width = max(map(len, VERBS)) + 2
    return HELP.format(verbs="\n".join(f"  {verb:<{width}}{line}" for verb, line in VERBS.items()))


def _version() -> str:
    from firstlight import __version__

    return f"firstlight {__version__}"
