"""The progress of a measurement: lines in a log, a bar on a terminal."""

from __future__ import annotations

import io
import sys

import pytest

from firstlight.data.row_progress import row_progress


def test_a_line_every_half_minute_gives_the_time_left(capsys: pytest.CaptureFixture[str]) -> None:
    now_s = 0.0
    with row_progress("measuring", clock=lambda: now_s) as on_row:
        for done in range(11):
            now_s = 20.0 * done
            on_row(done, 10)
    assert capsys.readouterr().err.splitlines() == [
        "measuring: 2 of 10 rows, 2 min 40 s left",
        "measuring: 4 of 10 rows, 2 min 0 s left",
        "measuring: 6 of 10 rows, 1 min 20 s left",
        "measuring: 8 of 10 rows, 40 s left",
    ]


def test_a_short_measurement_prints_nothing_in_a_log(capsys: pytest.CaptureFixture[str]) -> None:
    with row_progress("measuring") as on_row:
        for done in range(4):
            on_row(done, 3)
    assert capsys.readouterr().err == ""


def test_a_terminal_shows_a_bar_that_is_removed_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = io.StringIO()
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    with row_progress("measuring") as on_row:
        on_row(0, 35)
        on_row(7, 35)
    shown = terminal.getvalue()
    assert "7/35" in shown
    assert "left" in shown
    assert shown.endswith("\x1b[2K"), "the last line is erased: the table follows"
