from __future__ import annotations

import os
import time
from pathlib import Path

from firstlight.app.sweeper import sweep, swept


def aged(path: Path, seconds: float) -> Path:
    then = time.time() - seconds
    os.utime(path, (then, then))
    return path


def test_only_old_uploads_and_their_folders_are_deleted(tmp_path: Path) -> None:
    for name, file_age_s, folder_age_s in (("old", 90, 90), ("new", 5, 5), ("again", 90, 5), ("replaced", 5, 90)):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "photo.jpg").write_bytes(b"x")
        aged(folder / "photo.jpg", file_age_s)
        aged(folder, folder_age_s)
    aged(tmp_path / "old", 90)
    (tmp_path / "stray").write_bytes(b"x")
    aged(tmp_path / "stray", 30)  # the rest of an upload that failed
    sweep(tmp_path, 60.0)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["again", "new", "replaced"]


def test_the_folder_is_swept_repeatedly_and_deleted_at_the_end(tmp_path: Path) -> None:
    folder = tmp_path / "uploads"
    folder.mkdir()
    rounds: list[int] = []
    with swept(folder, lambda: rounds.append(1), every_s=0.01, after_s=0.0):
        for number in range(3):
            (folder / str(number)).mkdir()
            aged(folder / str(number), 1)
            deadline = time.monotonic() + 30
            while (folder / str(number)).exists() and time.monotonic() < deadline:
                time.sleep(0.01)
            assert not (folder / str(number)).exists()
    assert len(rounds) >= 2
    assert not folder.exists()
