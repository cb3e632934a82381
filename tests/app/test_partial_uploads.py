"""An upload that fails leaves no file: on a disk that is full, and when the client goes away."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from firstlight.app.serving import served
from firstlight.app.upload_folder import PREFIX
from firstlight.export.bundle import Bundle

UPLOAD = """
import json, os, sys
from pathlib import Path
import httpx
from firstlight.app.serving import served
from firstlight.export.bundle import Bundle
disk, found = Path(os.environ["TMPDIR"]), []
with served(Bundle(sys.argv[1]), "127.0.0.1") as address:
    for size in (1_000, 3_000_000, 900_000, 900_000):
        files = {"files": ("x.png", os.urandom(size))}
        done = httpx.post(f"{address}gradio_api/upload", files=files, timeout=60)
        kept = sorted(path.stat().st_size for path in disk.rglob("*") if path.is_file())
        found.append([done.status_code, done.text, kept])
print(json.dumps(found))
"""
FULL = 'mount -t tmpfs -o size=1m tmpfs "$TMPDIR" && exec "$@"'


@pytest.mark.slow
def test_a_full_disk_is_one_line_and_leaves_no_partial_file(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if subprocess.run(["unshare", "-rm", "true"], capture_output=True, check=False).returncode:
        pytest.skip("no disks can be mounted here")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    command = ["unshare", "-rm", "sh", "-c", FULL, "sh", sys.executable, "-c", UPLOAD, str(bundle.path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    statuses, answers, kept = zip(*json.loads(done.stdout.splitlines()[-1]), strict=True)
    assert statuses == (200, 507, 200, 507), "the space of the second upload is free for the third"
    assert json.loads(answers[1]) == {"detail": "the disk of the server is full: try again in a minute"}
    assert kept == ([1_000], [1_000], [1_000, 900_000], [1_000, 900_000])
    assert "Traceback" not in done.stdout + done.stderr
    assert done.stderr.splitlines() == ["an upload was rejected: the disk is full"] * 2


def test_a_client_that_goes_away_leaves_no_file(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    head = b'--b\r\nContent-Disposition: form-data; name="files"; filename="x.png"\r\n\r\n'
    with served(bundle, "127.0.0.1") as address:
        host, port = address.strip("/").removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=60) as connection:
            about = "Content-Type: multipart/form-data; boundary=b\r\nContent-Length: 900000"
            connection.sendall(f"POST /gradio_api/upload HTTP/1.1\r\nHost: {host}\r\n{about}\r\n\r\n".encode())
            connection.sendall(head + bytes(300_000))
            assert len(_waited_for(tmp_path, 1)) == 1, "nothing was written"
        assert _waited_for(tmp_path, 0) == []


def _waited_for(home: Path, number: int) -> list[Path]:
    """Return the files in the upload folder, as soon as there are this many, or after 10 seconds."""
    end_s = time.monotonic() + 10  # the sweeper would delete them after 20
    while True:
        found = [path for path in home.glob(f"{PREFIX}*/*") if path.is_file()]
        if len(found) == number or time.monotonic() > end_s:
            return found
        time.sleep(0.05)
