"""`firstlight app`: serving until stopped, and errors in one line."""

from __future__ import annotations

import importlib.util
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from firstlight.cli import app, main
from firstlight.export import bundle as bundle_module
from reference.made_bundle import make_tiny_bundle


@pytest.mark.slow
def test_the_app_prints_its_address_and_stops_on_a_signal_without_a_traceback(tmp_path: Path) -> None:
    _, bundle = make_tiny_bundle(tmp_path)
    started = subprocess.Popen(
        [sys.executable, "-m", "firstlight", "app", str(bundle.path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={"PATH": "/usr/bin", "TMPDIR": str(tmp_path), "HOME": str(tmp_path)},
    )
    try:
        assert started.stdout is not None
        line = started.stdout.readline()
        assert line.startswith("firstlight app: http://127.0.0.1:"), line
        address = line.split()[2]
        assert httpx.get(address, timeout=60).status_code == 200
        assert any(path.name.startswith("firstlight-app-") for path in tmp_path.iterdir())
        started.send_signal(signal.SIGTERM)
        _, error = started.communicate(timeout=60)
    finally:
        started.kill()
    assert started.returncode == 130
    assert error == "firstlight app: stopped\n"
    assert not any(path.name.startswith("firstlight-app-") for path in tmp_path.iterdir()), "uploads are gone"


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ("", "this copy of firstlight contains no trained model: name a run"),
        ("nowhere", "nowhere is neither a run nor a bundle"),
        ("--port 0", "--port must be 1 to 65535, not 0"),
        ("--port many", "many"),
        ("--nonsense", "--nonsense"),
    ],
)
def test_a_folder_that_cannot_be_served_is_one_line_and_status_2(
    asked: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bundle_module, "BUNDLED_PATH", tmp_path / "none")
    assert main(["app", *asked.split()]) == 2
    printed = capsys.readouterr()
    assert says in printed.err
    assert printed.err.count("\n") == 1


def test_without_gradio_the_error_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(app, "find_spec", lambda name: None if name == "gradio" else find(name))
    assert main(["app"]) == 2
    assert "pip install 'firstlight[app]'" in capsys.readouterr().err
