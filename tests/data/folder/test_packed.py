"""Archives of class folders: the same images as the folder; hostile ones are refused and leave nothing."""

from __future__ import annotations

import io
import os
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from firstlight.data.folder import packed as packed_module
from firstlight.data.folder.open_layout import open_layout
from firstlight.data.folder.packed import kind_of, unpacked
from firstlight.data.source import FolderSource, open_source
from firstlight.errors import DataError
from reference.archive_files import special
from reference.packed_photos import pack, zip_of
from reference.photo_folders import make_folder

IMAGE = (b"not decoded here", "cat/1.png")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    root = make_folder(tmp_path / "photos", {"red": 10, "green": 8})
    (root / "notes.txt").write_text("kept out")
    return root


def files_below(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def refusal(archive: Path, cache: Path) -> str:
    """Return the message with which an archive is refused; check that the cache folder holds no file."""
    before = files_below(archive.parent)
    with pytest.raises(DataError) as refused:
        open_source("cifar10", archive).train()
    message = str(refused.value)
    assert message.startswith(f"{archive}: "), message
    assert len(message.splitlines()) == 1
    assert message.isprintable()
    assert files_below(archive.parent) == before
    assert [path for path in cache.rglob("*") if path.name != "unpacked"] == []
    return message


@pytest.mark.parametrize("suffix", [".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2"])
@pytest.mark.parametrize("prefix", ["", "holiday/"])
def test_an_archive_has_the_splits_of_its_folder_and_names_its_own_paths(
    photos: Path, tmp_path: Path, suffix: str, prefix: str
) -> None:
    archive = pack(photos, tmp_path / f"photos{suffix}", prefix)
    source, folder = open_source("cifar10", archive), open_source("folder", photos)
    assert isinstance(source, FolderSource)
    for split in ("train", "test"):
        found, expected = source.read(split), folder.read(split)
        assert found.digest() == expected.digest()
        assert found.file_names == tuple(prefix + name for name in expected.file_names or ())
        assert source.file_attributes(found).keys() == folder.file_attributes(expected).keys() != set()
    assert source.describe() == {"name": f"photos{suffix}", "place": str(archive)}
    assert source.remarks(source.train())[0] == f"{archive}: 2 classes (green, red)"


def test_only_images_are_unpacked_and_only_once(photos: Path, tmp_path: Path, cache: Path) -> None:
    archive = pack(photos, tmp_path / "photos.zip")
    folder = unpacked(archive)
    assert files_below(folder) == [name for name in files_below(photos) if name.endswith(".png")]
    assert folder.is_relative_to(cache)
    (folder / "red" / "000.png").unlink()
    assert not (unpacked(archive) / "red" / "000.png").exists()
    os.utime(archive, ns=(1, 1))
    assert (unpacked(archive) / "red" / "000.png").stat().st_mtime_ns == 1
    assert len(list((cache / "unpacked").iterdir())) == 1


def test_splits_in_an_archive_are_the_users(tmp_path: Path) -> None:
    root = make_folder(tmp_path / "photos", {"train/red": 3, "train/green": 3, "valid/red": 2, "test/red": 1})
    layout = open_layout(pack(root, tmp_path / "a.zip", "deep/er/"))
    assert {split: len(files) for split, files in layout.files.items()} == {"train": 6, "val": 2, "test": 1}
    assert not layout.is_split_here


def test_messages_name_the_archive_and_not_the_cache(tmp_path: Path, cache: Path) -> None:
    archive = pack(make_folder(tmp_path / "one", {"in/red": 3}), tmp_path / "one.zip")
    with pytest.raises(DataError, match=f"^{archive}: holds only images of 'in'") as refused:
        open_source("folder", archive).train()
    assert str(cache) not in str(refused.value)
    make_folder(tmp_path / "two", {"in/red": 3, "in/green": 3})
    (tmp_path / "two" / "in" / "stray.png").write_bytes(b"")
    layout = open_layout(pack(tmp_path / "two", tmp_path / "two.zip"))
    assert layout.skipped == (f"1 image in {tmp_path / 'two.zip' / 'in'}, outside of the class folders",)


def info(name: str, mode: int = 0, flags: int = 0) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name)
    entry.external_attr = mode << 16
    entry.flag_bits = flags
    return entry


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("../cat/1.png", "is outside the folder"),
        ("cat/../../1.png", "is outside the folder"),
        ("/etc/1.png", "is outside the folder"),
        ("C:\\cat\\1.png", "is outside the folder"),
        ("cat/\x1b[2J.png/../x", "is outside the folder"),
        (info("cat/2.png", 0o120777), "is a link or no plain file"),
        (info("cat/2.png", 0o020666), "is a link or no plain file"),
        ("cat/1.png", "occurs twice"),
        ("cat/1.png/2.png", "occurs twice"),
    ],
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_hostile_zip_is_refused(tmp_path: Path, cache: Path, name: str | zipfile.ZipInfo, says: str) -> None:
    archive = zip_of(tmp_path / "bad.zip", ("cat/1.png", b"x"), (name, b"/etc/passwd"))
    assert says in refusal(archive, cache)


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        (special("cat/2.png", tarfile.SYMTYPE, "/etc/passwd"), "is a link or no plain file"),
        (special("cat/2.png", tarfile.LNKTYPE, "cat/1.png"), "is a link or no plain file"),
        (special("cat/2.png", tarfile.FIFOTYPE), "is a link or no plain file"),
        (special("../2.png", tarfile.REGTYPE), "is outside the folder"),
        (special("/2.png", tarfile.REGTYPE), "is outside the folder"),
        (special("cat/1.png", tarfile.REGTYPE), "occurs twice"),
        (special("n" * 70_000, tarfile.REGTYPE), "a header has 70,0"),
    ],
)
def test_a_hostile_tar_is_refused(tmp_path: Path, cache: Path, entry: tuple[tarfile.TarInfo, bytes], says: str) -> None:
    archive = tmp_path / "bad.tar.gz"
    with tarfile.open(archive, "w:gz") as packed:
        for each in (special("cat/1.png", tarfile.REGTYPE), entry):
            packed.addfile(each[0], io.BytesIO(each[1]))
    assert says in refusal(archive, cache)


@pytest.mark.parametrize("suffix", [".zip", ".tar.gz", ".tar.bz2"])
def test_a_bomb_is_refused_before_it_fills_the_disk(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    monkeypatch.setattr(packed_module, "ALWAYS_ALLOWED_BYTES", 1000)
    (tmp_path / "bomb" / "cat").mkdir(parents=True)
    (tmp_path / "bomb" / "cat" / "1.png").write_bytes(bytes(20_000_000))
    archive = pack(tmp_path / "bomb", tmp_path / f"bomb{suffix}")
    assert "it unpacks to more than" in refusal(archive, cache)


def test_too_many_entries_and_too_many_bytes_are_refused(
    tmp_path: Path, cache: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archives = [pack(photos, tmp_path / "photos.zip"), pack(photos, tmp_path / "photos.tar")]
    with monkeypatch.context() as patch:
        patch.setattr(packed_module, "MAX_ENTRIES", 18)  # with the text file there are 19
        for archive in archives:
            assert "it has more than 18 entries" in refusal(archive, cache)
    monkeypatch.setattr(packed_module, "MAX_BYTES", 1000)
    for archive in archives:
        assert "it unpacks to more than" in refusal(archive, cache)


def encrypted(content: bytes) -> bytes:
    """Set the flag of encryption in the local header and in the directory."""
    for mark, offset in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        at = content.index(mark) + offset
        content = content[:at] + bytes([content[at] | 1]) + content[at + 1 :]
    return content


@pytest.mark.parametrize(
    ("suffix", "damage", "says"),
    [
        (".zip", lambda content: content[:-40], "it is not a valid zip"),
        (".zip", lambda content: b"", "it is not a valid zip"),
        (".zip", encrypted, "it is encrypted"),
        (".zip", lambda content: content[:60] + bytes(200) + content[260:], "refused: it is"),
        (".tar.gz", lambda content: content[:-4000], "it is cut short or damaged"),
        (".tar.gz", lambda content: content[:-8] + bytes(8), "it is cut short or damaged"),
        (".tar.gz", lambda content: b"", "it is not a valid tar.gz"),
        (".tar.bz2", lambda content: content[:-400], "it is cut short or damaged"),
        (".tar", lambda content: content[:700], "it is not a valid tar"),
    ],
)
def test_a_damaged_archive_is_refused(
    tmp_path: Path, cache: Path, photos: Path, suffix: str, damage: Callable[[bytes], bytes], says: str
) -> None:
    archive = pack(photos, tmp_path / f"photos{suffix}")
    archive.write_bytes(damage(archive.read_bytes()))
    assert says in refusal(archive, cache)


def test_a_full_disk_leaves_nothing(tmp_path: Path, cache: Path, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(packed_module.os, "utime", full)
    message = refusal(pack(photos, tmp_path / "photos.zip"), cache)
    assert "cannot be unpacked: No space left on device. Free space" in message


def test_other_files_and_other_data_sets_are_refused(tmp_path: Path, photos: Path) -> None:
    (tmp_path / "photos.rar").write_bytes(b"")
    with pytest.raises(DataError, match=r"photos\.rar is a file; data_dir must be a folder"):
        open_source("cifar10", tmp_path / "photos.rar")
    with pytest.raises(DataError, match="is a file of images, not a folder with cifar100"):
        open_source("cifar100", pack(photos, tmp_path / "photos.zip"))
    assert open_source("cifar100", tmp_path / "photos.zip", is_named=False).name == "folder"
    assert kind_of(tmp_path / "photos.zip") == ".zip"
