"""Progress displays of a download: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any

SECONDS_BETWEEN_LINES = 30.0


class ProgressLines:
    """Prints a line at regular intervals.

    Args:
        name: Name of the file that is downloaded.
        say: Function that prints a line.
        every_s: Seconds between two lines.
        clock: Function that returns the time in seconds.
    """

    def __init__(
        self,
        name: str,
        say: Callable[[str], None],
        every_s: float = SECONDS_BETWEEN_LINES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._name, self._say, self._every_s, self._clock = name, say, every_s, clock
        self._begun_at: tuple[float, int] | None = None
        self._done, self._last_line_s = 0, 0.0

    def __enter__(self) -> ProgressLines:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def note(self, text: str) -> None:
        """Print a message."""
        self._say(f"{self._name}: {text}")

    def update(self, done: int, total: int | None) -> None:
        """Print the number of bytes so far, if the last line is old enough or the download is complete."""
        now = self._clock()
        if self._begun_at is None or done < self._done:
            self._begun_at, self._last_line_s = (now, done), now
        self._done = done
        if now - self._last_line_s < self._every_s and done != total:
            return
        self._last_line_s = now
        begun_s, begun_bytes = self._begun_at
        rate = (done - begun_bytes) / max(now - begun_s, 1e-3)
        share = f"{done / 1e6:.1f} MB" if total is None else f"{done / total:.0%} of {total / 1e6:.1f} MB"
        left = f", {(total - done) / rate / 60:.0f} min left" if total is not None and total > done and rate else ""
        self.note(f"{share}, {rate / 1e6:.2f} MB/s{left}")


class ProgressBar:
    """Draws a progress bar with rich, with the methods of `ProgressLines`."""

    def __init__(self, name: str) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
        from rich.progress import TransferSpeedColumn as Speed

        columns: list[Any] = [TextColumn("{task.description}"), BarColumn(), DownloadColumn(), Speed()]
        self._progress = Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True))
        self._task = self._progress.add_task(name, total=None)

    def __enter__(self) -> ProgressBar:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def note(self, text: str) -> None:
        """Print a message above the bar."""
        self._progress.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def update(self, done: int, total: int | None) -> None:
        """Move the bar to `done` of `total` bytes."""
        self._progress.update(self._task, completed=done, total=total)


Progress = ProgressLines | ProgressBar


def show_progress(name: str) -> Progress:
    """Return a progress bar if standard error can redraw one, otherwise lines."""
    can_redraw = sys.stderr.isatty() or "ipykernel" in sys.modules
    return ProgressBar(name) if can_redraw else ProgressLines(name, _to_stderr)


def _to_stderr(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
