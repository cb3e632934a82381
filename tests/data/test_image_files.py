"""The search for image files: skipped entries, loops, and reasons for unreadable ones."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from firstlight.data.image_files import find_images, image_files_below
from firstlight.errors import DataError


def touch(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def names(paths: list[Path], root: Path) -> list[str]:
    return [path.relative_to(root).as_posix() for path in paths]


def test_folders_are_searched_in_order_of_the_paths(tmp_path: Path) -> None:
    touch(tmp_path, "b.PNG", "a.jpg", "in/c.webp", "in/deeper/d.gif", "notes.txt", "Thumbs.db")
    found, refusals = find_images([tmp_path])
    assert names(found, tmp_path) == ["a.jpg", "b.PNG", "in/c.webp", "in/deeper/d.gif"]
    assert refusals == {}


def test_hidden_files_and_folders_of_the_system_are_skipped(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg", "._a.jpg", ".ipynb_checkpoints/a-checkpoint.jpg", "__MACOSX/a.jpg", "in/@eaDir/a.jpg")
    assert names(find_images([tmp_path])[0], tmp_path) == ["a.jpg"]


def test_a_named_file_is_taken_whatever_its_name(tmp_path: Path) -> None:
    touch(tmp_path, ".hidden.jpg", "scan.data", ".folder/a.jpg")
    paths = [tmp_path / ".hidden.jpg", tmp_path / "scan.data", tmp_path / ".folder"]
    assert find_images(paths) == ([*paths[:2], tmp_path / ".folder" / "a.jpg"], {})


def test_paths_without_an_image_do_not_affect_the_others(tmp_path: Path) -> None:
    touch(tmp_path, "good/a.jpg", "good/photo.HEIC", "empty/notes.txt")
    os.symlink(tmp_path / "gone.jpg", tmp_path / "good" / "broken.jpg")
    found, refusals = find_images([tmp_path / "good", tmp_path / "empty", tmp_path / "missing.png"])
    assert names(found, tmp_path) == ["good/a.jpg"]
    assert {path.name: reason for path, reason in refusals.items()} == {
        "photo.HEIC": "HEIC files are not supported: convert it to JPEG or PNG",
        "broken.jpg": "No such file or directory",
        "empty": "holds no image file",
        "missing.png": "no such file or folder",
    }


def test_loops_of_links_end(tmp_path: Path) -> None:
    touch(tmp_path, "photos/a.jpg", "photos/in/b.jpg")
    os.symlink(tmp_path / "photos", tmp_path / "photos" / "in" / "back")
    os.symlink(tmp_path, tmp_path / "photos" / "up")
    os.symlink(tmp_path / "photos", tmp_path / "link")
    for root in ("photos", "link"):
        found = [entry.path for entry in image_files_below(tmp_path / root)]
        assert sorted(names(found, tmp_path)) == [f"{root}/a.jpg", f"{root}/in/b.jpg"]


@pytest.mark.parametrize("name", [".", "../photos", "in/.."])
def test_relative_names_of_folders(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "photos/a.jpg", "photos/in/b.jpg")
    monkeypatch.chdir(tmp_path / "photos")
    assert {path.name for path in find_images([Path(name)])[0]} == {"a.jpg", "b.jpg"}


def test_a_folder_that_cannot_be_listed_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "open/a.jpg", "open/closed/b.jpg")
    listdir = os.listdir

    def refuse(folder: Path) -> list[str]:
        if Path(folder).name == "closed":
            raise PermissionError(13, "Permission denied")
        return listdir(folder)

    monkeypatch.setattr(os, "listdir", refuse)
    found, refusals = find_images([tmp_path / "open"])
    assert names(found, tmp_path) == ["open/a.jpg"]
    assert refusals == {tmp_path / "open" / "closed": "cannot be listed (Permission denied)"}
    with pytest.raises(DataError, match=r"closed: cannot be listed \(Permission denied\)"):
        next(image_files_below(tmp_path / "open" / "closed"))
