"""Report how many rows of a table are measured, and the time left: a bar on a terminal, lines of text elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

SECONDS_BETWEEN_LINES = 30.0


@contextmanager
def row_progress(
    what: str, clock: Callable[[], float] = time.monotonic, unit: str = "rows"
) -> Iterator[Callable[[int, int], None]]:
    """Yield a function that reports on stderr how many of all rows are done.

    Args:
        what: What is being done, for instance "measuring".
        clock: Returns the time in seconds.
        unit: What is counted, in the plural.
    """
    if not sys.stderr.isatty():
        yield RowLines(what, clock, unit)
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
    )
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(what, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


class RowLines:
    """Prints how many rows are done, at most one line every `SECONDS_BETWEEN_LINES`.

    Args:
        what: What is being done.
        clock: Returns the time in seconds.
        unit: What is counted, in the plural.
    """

    def __init__(self, what: str, clock: Callable[[], float], unit: str = "rows") -> None:
        self._what, self._clock, self._unit = what, clock, unit
        self._started_s = self._last_line_s = clock()

    def __call__(self, done: int, total: int) -> None:
        """Print a line if the last one is 30 seconds old.

        Args:
            done: Number of rows done.
            total: Number of all rows.
        """
        from firstlight.durations import duration

        now_s = self._clock()
        if not 0 < done < total or now_s - self._last_line_s < SECONDS_BETWEEN_LINES:
            return
        self._last_line_s = now_s
        left_s = (now_s - self._started_s) / done * (total - done)
        print(f"{self._what}: {done} of {total} {self._unit}, {duration(left_s)} left", file=sys.stderr, flush=True)
