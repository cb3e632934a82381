"""A lock excludes threads and processes, is released by death, and leaves no file."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from firstlight.file_lock import locked

COUNT = """
import sys
from pathlib import Path
from firstlight.file_lock import locked
folder, num = Path(sys.argv[1]), int(sys.argv[2])
for _ in range(num):
    with locked(folder / "lock"):
        number = int((folder / "number").read_text(encoding="utf-8"))
        (folder / "number").write_text(str(number + 1), encoding="utf-8")
"""
HOLD = """
import sys, time
from pathlib import Path
from firstlight.file_lock import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def start(code: str, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, encoding="utf-8")


def test_processes_exclude_each_other_although_the_file_is_removed_each_time(tmp_path: Path) -> None:
    (tmp_path / "number").write_text("0", encoding="utf-8")
    processes = [start(COUNT, tmp_path, 30) for _ in range(4)]
    assert [process.wait(timeout=120) for process in processes] == [0] * 4
    assert (tmp_path / "number").read_text(encoding="utf-8") == "120"
    assert not (tmp_path / "lock").exists()


def test_threads_exclude_each_other(tmp_path: Path) -> None:
    inside, most = [], []

    def work() -> None:
        for _ in range(20):
            with locked(tmp_path / "lock"):
                inside.append(1)
                most.append(len(inside))
                time.sleep(0.0005)
                inside.pop()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(most) == 80
    assert max(most) == 1


def test_a_killed_process_releases_its_lock_and_the_waiting_one_is_told_once(tmp_path: Path) -> None:
    process = start(HOLD, tmp_path / "lock")
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    told = []

    def on_wait() -> None:
        told.append(1)
        process.kill()
        process.wait()

    with locked(tmp_path / "lock", on_wait):
        assert told == [1]
    process.stdout.close()


def test_whoever_does_not_want_to_wait_raises(tmp_path: Path) -> None:
    def refuse() -> None:
        raise RuntimeError("somebody else works here")

    with (
        locked(tmp_path / "lock"),
        pytest.raises(RuntimeError, match="somebody else"),
        locked(tmp_path / "lock", refuse),
    ):
        pass
    with locked(tmp_path / "lock", refuse):
        pass


def test_a_folder_that_does_not_exist_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="missing"), locked(tmp_path / "missing" / "lock"):
        pass
