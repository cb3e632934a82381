from __future__ import annotations

from pathlib import Path

import pytest

from firstlight.errors import FirstlightError, UsageError
from firstlight.whole_folder import whole_folder


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*"))


def test_a_folder_appears_whole_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "new"
    with whole_folder(target) as folder:
        (folder / "inside").mkdir()
        (folder / "inside" / "a").write_text("a")
        assert not target.exists()
    assert names(tmp_path / "deep") == ["a", "inside", "new"]


def test_an_error_leaves_the_folder_unchanged(tmp_path: Path) -> None:
    target = tmp_path / "kept"
    target.mkdir()
    (target / "a").write_text("old")

    def fail_half_way() -> None:
        with whole_folder(target, overwrite=True) as folder:
            (folder / "a").write_text("new")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_half_way()
    assert (target / "a").read_text() == "old"
    assert names(tmp_path) == ["a", "kept"]


def test_overwrite_replaces_own_entries_and_keeps_others(tmp_path: Path) -> None:
    for name in (".git", "package"):
        (tmp_path / "out" / name).mkdir(parents=True)
        (tmp_path / "out" / name / "stale.py").write_text("")
    with whole_folder(tmp_path / "out", overwrite=True) as folder:
        (folder / "package").mkdir()
        (folder / "package" / "fresh.py").write_text("")
    assert names(tmp_path / "out" / ".git") == ["stale.py"]
    assert names(tmp_path / "out" / "package") == ["fresh.py"]


def test_a_full_folder_or_a_file_is_refused_before_anything_is_built(tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a").write_text("")
    for name, says in (("full", "is not empty"), ("full/a", "is a file")):
        with pytest.raises(UsageError, match=says), whole_folder(tmp_path / name):
            pytest.fail("the block must not be entered")


def test_an_unwritable_folder_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FirstlightError, match="cannot write"), whole_folder(tmp_path / "file" / "below"):
        pytest.fail("the block must not be entered")
