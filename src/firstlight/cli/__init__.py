"""The command line: it finds the verb, and imports only what this verb needs."""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Sequence
from importlib import import_module

from firstlight.cli.help import VERBS, help_text
from firstlight.errors import FirstlightError, StoppedError
from firstlight.paths import without_control_characters

EXIT_USER_ERROR = 2
MAX_LINE = 2000  # characters of a message


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb and return the exit status.

    The status is 0 without an error, 2 after an error that the user can fix, which is printed in one line, and 130 or
    143 if a signal has stopped the verb.
    """
    _escape_unencodable_output()
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(help_text(), end="")
        return 0
    if arguments[0] == "--version":
        print(_version())
        return 0
    verb, rest = arguments[0], arguments[1:]
    if verb not in VERBS:
        print(f"firstlight: there is no verb {verb!r}; choose one of {', '.join(VERBS)}", file=sys.stderr)
        return EXIT_USER_ERROR
    try:
        import_module(f"firstlight.cli.{verb}").run(rest)
        sys.stdout.flush()
    except FirstlightError as error:
        print(f"firstlight {verb}: {_one_line(str(error))}", file=sys.stderr)
        return EXIT_USER_ERROR
    except StoppedError as error:
        print(f"firstlight {verb}: {error}", file=sys.stderr)
        return error.exit_status
    except KeyboardInterrupt:
        print(f"firstlight {verb}: stopped", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the program that reads the output, for instance `head`, has ended
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        print(f"firstlight {verb}: the path is too long: {_one_line(str(error.filename))}", file=sys.stderr)
        return EXIT_USER_ERROR
    return 0


def _one_line(text: str) -> str:
    """Return a message as one line of bounded length, without codes that would command the terminal."""
    line = without_control_characters(" ".join(text.split()))
    return line if len(line) <= MAX_LINE else line[:MAX_LINE] + " ..."


def _escape_unencodable_output() -> None:
    """Print characters that the terminal cannot encode as escapes, because file and class names may hold any."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _version() -> str:
    from firstlight import __version__

    return f"firstlight {__version__}"
