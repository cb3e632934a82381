"""The run that a verb works on: the one that the user names, or the newest in `logs/`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from firstlight.paths import DEFAULT_LOGS_DIR

if TYPE_CHECKING:
    from firstlight.runs.run import Run

RUN_HELP = f"a run folder (by default the newest run in {DEFAULT_LOGS_DIR}/)"


def open_run(named: str | None, logs_dir: str = DEFAULT_LOGS_DIR) -> Run:
    """Open the run that the user names, or else the newest one; then say in one line on stderr which it is.

    Raises:
        RunError: the folder is not a run, or `logs_dir` holds none.
    """
    from firstlight.runs.run import latest_run, load

    if named is not None:
        return load(named)
    run = latest_run(logs_dir)
    report_choice(f"the newest run, {describe(run)}")
    return run


def describe(run: Run) -> str:
    """Return a run's folder, and what was trained on which data with which accuracy, as far as the run says it."""
    return str(run.description)


def report_choice(what: str) -> None:
    """Say on stderr which model is used, because the user named none."""
    print(f"no run named: using {what}", file=sys.stderr, flush=True)
