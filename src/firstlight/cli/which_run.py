"""The run that a verb works on: the one that the user names, or the newest in `--logs_dir`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from firstlight.paths import DEFAULT_LOGS_DIR

if TYPE_CHECKING:
    from argparse import ArgumentParser

    from firstlight.runs.run import Run

RUN_HELP = "a run folder (by default the newest run in --logs_dir)"
MOVED_DATA_DIR_HELP = "folder of the run's data set, if it was moved"
LOGS_DIR_HELP = "folder of all runs, whose newest run is used if none is named"


def add_run_argument(parser: ArgumentParser, name: str = "run", description: str = RUN_HELP) -> None:
    """Add the argument that names a run, and `--logs_dir`.

    Args:
        parser: Parser of a verb.
        name: `run` for a positional argument, or `--run` for an option.
        description: Help of the argument.
    """
    optional = {} if name.startswith("-") else {"nargs": "?"}
    parser.add_argument(name, type=str, default=None, help=description, **optional)  # type: ignore[arg-type]
    parser.add_argument("--logs_dir", type=str, default=DEFAULT_LOGS_DIR, help=LOGS_DIR_HELP)


def open_run(named: str | None, logs_dir: str = DEFAULT_LOGS_DIR) -> Run:
    """Open the run that the user names, or else the newest run, which is then reported in one line on stderr.

    Raises:
        RunError: The folder is not a run, or `logs_dir` holds none.
    """
    from firstlight.runs.run import latest_run, load

    if named is not None:
        return load(named)
    run = latest_run(logs_dir)
    report_choice(f"the newest run, {describe(run)}")
    return run


def describe(run: Run) -> str:
    """Return a run's folder, recipe, data set and test accuracy as text; facts that the run lacks are left out."""
    return str(run.description)


def report_choice(what: str) -> None:
    """Print on stderr which model is used if the user has named none."""
    print(f"no run named: using {what}", file=sys.stderr, flush=True)
