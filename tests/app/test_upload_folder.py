from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from firstlight.app.upload_folder import PREFIX, upload_folder

HOLD = """
import sys, time
from firstlight.app.upload_folder import upload_folder
with upload_folder() as folder:
    (folder / "photo.png").write_bytes(b"x")
    print(folder, flush=True)
    time.sleep(60)
"""


@pytest.fixture(autouse=True)
def own_temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


def aged(folder: Path) -> None:
    then = time.time() - 100
    os.utime(folder, (then, then))


def test_the_next_start_deletes_what_a_killed_process_left_and_nothing_else(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (tmp_path / f"{PREFIX}link").symlink_to(other)
    with subprocess.Popen([sys.executable, "-c", HOLD], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        folder = Path(process.stdout.readline().strip())
        aged(folder)
        with upload_folder() as own:
            assert own.is_dir()
            assert folder.is_dir(), "its process lives"
        assert not own.exists()
        process.kill()
    assert folder.is_dir()
    with upload_folder():
        assert not folder.exists()
    assert other.is_dir()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_folder_is_deleted_after_a_signal_during_the_start(tmp_path: Path, number: signal.Signals) -> None:
    script = (
        "import signal, time\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # ignored in the background
        "from unittest.mock import patch\n"
        "from firstlight.app import serving\n"
        "def slow(*_):\n"
        "    print('starting', flush=True)\n"
        "    time.sleep(60)\n"
        "with patch('firstlight.app.serving.Service', slow):\n"
        "    serving.serve(None)\n"
    )
    command = [sys.executable, "-c", script]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "starting\n"
        assert list(tmp_path.glob(f"{PREFIX}*"))
        process.send_signal(number)
        process.wait(60)
    assert not list(tmp_path.glob(f"{PREFIX}*"))
