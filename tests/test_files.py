from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from firstlight.errors import FirstlightError, WriteError
from firstlight.files import atomic, read_bytes, read_text, write_atomic


@pytest.fixture
def umask() -> Iterator[int]:
    old = os.umask(0o027)
    yield 0o027
    os.umask(old)


def test_a_file_appears_whole_under_its_name_when_the_block_ends(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    with atomic(path) as temporary:
        assert temporary.parent == tmp_path  # on the same disk, so that renaming is atomic
        assert temporary.suffix == ".json"
        temporary.write_text("part")
        assert not path.exists()
        temporary.write_text("the whole")
    assert path.read_text() == "the whole"
    assert os.listdir(tmp_path) == ["result.json"]


@pytest.mark.parametrize(
    "error", [ValueError("no"), KeyboardInterrupt(), OSError(errno.ENOSPC, "No space left")], ids=repr
)
@pytest.mark.parametrize("existed", [True, False], ids=["replacing", "new"])
def test_an_exception_leaves_the_file_unchanged(tmp_path: Path, error: BaseException, existed: bool) -> None:
    path = tmp_path / "result.json"
    if existed:
        path.write_text("old")
    expected = FirstlightError if isinstance(error, OSError) else type(error)

    def write() -> None:
        with atomic(path) as temporary:
            temporary.write_text("new, in pa")
            raise error

    with pytest.raises(expected):
        write()
    assert os.listdir(tmp_path) == (["result.json"] if existed else [])
    assert not existed or path.read_text() == "old"


def test_the_mode_is_that_of_any_new_file(tmp_path: Path, umask: int) -> None:
    (tmp_path / "plain").write_text("")
    write_atomic(tmp_path / "atomic", "")
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("plain", "atomic")]
    assert modes == [0o666 & ~umask] * 2
    assert os.umask(umask) == umask  # and the umask of the process is unchanged


@pytest.mark.parametrize(("content", "stored"), [("é\n", b"\xc3\xa9\n"), (b"\r\n\0", b"\r\n\0"), ("", b"")])
def test_text_is_stored_as_utf8_and_bytes_as_they_are(tmp_path: Path, content: str | bytes, stored: bytes) -> None:
    write_atomic(str(tmp_path / "file"), content)
    assert (tmp_path / "file").read_bytes() == stored


def test_missing_folders_are_created(tmp_path: Path) -> None:
    write_atomic(tmp_path / "a" / "b" / "file.txt", "x")
    assert (tmp_path / "a" / "b" / "file.txt").read_text() == "x"


def test_an_unwritable_path_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("kept")
    (tmp_path / "folder" / "inside").mkdir(parents=True)
    for path in (tmp_path / "file" / "below", tmp_path / "folder", tmp_path / ("x" * 300)):
        with pytest.raises(FirstlightError, match=f"cannot write {re.escape(str(path))}: ") as refused:
            write_atomic(path, "x")
        assert len(str(refused.value).splitlines()) == 1
    assert sorted(os.listdir(tmp_path)) == ["file", "folder"]
    assert (tmp_path / "file").read_text() == "kept"


@pytest.mark.parametrize(
    ("function", "code"), [("mkstemp", errno.EACCES), ("mkstemp", errno.EROFS), ("fsync", errno.ENOSPC)]
)
def test_a_read_only_folder_and_a_full_disk_are_named_and_leave_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, function: str, code: int
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    path = tmp_path / "file"
    path.write_text("old")
    monkeypatch.setattr(f"firstlight.files.{'tempfile' if function == 'mkstemp' else 'os'}.{function}", fail)
    with pytest.raises(FirstlightError, match=os.strerror(code)):
        write_atomic(path, "new")
    assert os.listdir(tmp_path) == ["file"]
    assert path.read_text() == "old"


def test_only_regular_files_of_a_bounded_size_are_read(tmp_path: Path) -> None:
    """A FIFO would be waited for, and a link to a device has no end."""
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "endless").symlink_to("/dev/zero")
    for name in ("fifo", "endless"):
        with pytest.raises(OSError, match="it is not a regular file"):
            read_bytes(tmp_path / name)
    with pytest.raises(IsADirectoryError):
        read_bytes(tmp_path)
    (tmp_path / "large").write_bytes(b"12345")
    (tmp_path / "link").symlink_to("large")
    assert read_text(tmp_path / "link", 5) == "12345"
    with pytest.raises(OSError, match="it has 5 bytes, more than 4"):
        read_text(tmp_path / "large", 4)


def test_what_is_no_regular_file_is_not_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link").symlink_to("/dev/null")
    for name in ("fifo", "link"):
        with pytest.raises(WriteError, match="not a regular file"):
            write_atomic(tmp_path / name, "content")
    assert stat.S_ISFIFO((tmp_path / "fifo").stat().st_mode)
    assert (tmp_path / "link").is_symlink()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fifo", "link"]
