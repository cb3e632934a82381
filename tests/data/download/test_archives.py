"""Archives that write elsewhere, fill the disk or are broken are refused in one line, and leave no files."""

from __future__ import annotations

import gzip
import os
import random
import tarfile
from pathlib import Path

import pytest

from firstlight.data.download.archives import MAX_ENTRIES, find_difference, unpack
from firstlight.errors import DataError
from reference.archive_files import FOLDER, archive_of, official_entries, official_files, packed, plain, special

WHOLE = packed(*official_entries())
BATCH = f"{FOLDER}/data_batch_1.bin"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """An inner folder, so that files written outside of it are found."""
    (tmp_path / "outer" / "data").mkdir(parents=True)
    return tmp_path / "outer" / "data"


def everything_in(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def refusal(content: bytes, place: Path) -> str:
    """Return the message with which an archive is refused; check that only the archive remains."""
    path = place / "small.tar.gz"
    path.write_bytes(content)
    with pytest.raises(DataError) as refused:
        unpack(archive_of(content), path, place)
    assert everything_in(place.parent.parent) == {"outer", "outer/data", "outer/data/small.tar.gz"}
    message = str(refused.value)
    assert message.startswith(f"{path}: refused: ")
    assert len(message.splitlines()) == 1
    assert message.isprintable()
    assert len(message) < 500
    return message


def test_only_the_required_files_are_unpacked(place: Path) -> None:
    (place / "small.tar.gz").write_bytes(WHOLE)
    folder = unpack(archive_of(WHOLE), place / "small.tar.gz", place)
    assert folder == place / FOLDER
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == official_files()
    assert everything_in(place) == {"small.tar.gz", FOLDER, *(f"{FOLDER}/{name}" for name in official_files())}
    assert find_difference(archive_of(WHOLE), folder) is None


def test_files_have_the_mode_of_new_files_not_the_archives(place: Path) -> None:
    entries = official_entries()
    entries[1][0].mode = 0o4777
    (place / "small.tar.gz").write_bytes(packed(*entries))
    folder = unpack(archive_of(WHOLE), place / "small.tar.gz", place)
    (place / "new").touch()
    assert {path.stat().st_mode for path in folder.iterdir()} == {(place / "new").stat().st_mode}


def test_files_of_a_killed_process_are_removed(place: Path) -> None:
    (place / f".{FOLDER}.unpacking").mkdir()
    (place / f".{FOLDER}.unpacking" / "data_batch_1.bin").write_bytes(b"half")
    (place / "small.tar.gz").write_bytes(WHOLE)
    unpack(archive_of(WHOLE), place / "small.tar.gz", place)
    assert sorted(os.listdir(place)) == [FOLDER, "small.tar.gz"]
    assert (place / FOLDER / "data_batch_1.bin").read_bytes() == official_files()["data_batch_1.bin"]


HOSTILE = {
    "absolute path": (plain("/tmp/firstlight-was-here", b"x"), "is outside the folder"),
    "parent folder": (plain("../was-here", b"x"), "is outside the folder"),
    "parent folder, later": (plain(f"{FOLDER}/../../was-here", b"x"), "is outside the folder"),
    "backslashes": (plain(f"{FOLDER}\\..\\..\\was-here", b"x"), "is outside the folder"),
    "other folder": (plain("elsewhere/data_batch_1.bin", b"x"), "is not in cifar-10-batches-bin"),
    "folder as a link": (special(FOLDER, tarfile.SYMTYPE, "/tmp"), "is not a plain file"),
    "symbolic link": (special(BATCH, tarfile.SYMTYPE, "/etc/passwd"), "is not a plain file"),
    "hard link": (special(BATCH, tarfile.LNKTYPE, "/etc/passwd"), "is not a plain file"),
    "character device": (special(BATCH, tarfile.CHRTYPE), "is not a plain file"),
    "block device": (special(BATCH, tarfile.BLKTYPE), "is not a plain file"),
    "pipe": (special(BATCH, tarfile.FIFOTYPE), "is not a plain file"),
    "oversized member": (plain(BATCH, bytes(40_000)), "has 40,000 bytes, more than 30,730"),
    "bomb that is not needed": (
        plain(f"{FOLDER}/readme.html", bytes(20_000_000)),
        "unpacks to more bytes than the official archive",
    ),
    "name with line breaks and terminal codes": (plain("a\n\x1b[2J", b"x"), r"a\n\x1b[2J"),
    "endless name": (plain("a" * 100_000, b"x"), "aaa"),
}


@pytest.mark.parametrize("entry", HOSTILE)
@pytest.mark.parametrize("is_last", [False, True], ids=["first", "last"])
def test_hostile_entries_are_refused(entry: str, is_last: bool, place: Path) -> None:
    hostile, says = HOSTILE[entry]
    others = [each for each in official_entries() if each[0].name != hostile[0].name]
    assert says in refusal(packed(*others, hostile) if is_last else packed(hostile, *others), place)
    assert not Path("/tmp/firstlight-was-here").exists()


def test_a_duplicate_member_is_refused(place: Path) -> None:
    assert "data_batch_1.bin occurs twice" in refusal(packed(*official_entries(), plain(BATCH, b"x")), place)


def test_missing_members_are_named(place: Path) -> None:
    some = [each for each in official_entries() if "test_batch" not in each[0].name]
    assert "test_batch.bin missing" in refusal(packed(*some), place)
    assert "missing" in refusal(packed(), place)


def test_too_many_entries_are_refused(place: Path) -> None:
    many = [plain(f"{FOLDER}/{number}", b"") for number in range(MAX_ENTRIES + 1)]
    assert f"more than {MAX_ENTRIES} entries" in refusal(packed(*many), place)


@pytest.mark.parametrize("kept", [0, 5, 30, 1000, -1000, -5, -1])
def test_a_truncated_gzip_is_refused(kept: int, place: Path) -> None:
    refusal(WHOLE[:kept], place)


def test_a_wrong_checksum_is_refused(place: Path) -> None:
    assert "damaged" in refusal(WHOLE[:-8] + bytes(4) + WHOLE[-4:], place)


@pytest.mark.parametrize(
    "content", [b"", b"<html>log in first</html>" * 100, gzip.compress(b"no tar" * 1000)], ids=["empty", "page", "gzip"]
)
def test_a_file_that_is_no_archive_is_refused(content: bytes, place: Path) -> None:
    refusal(content, place)


def test_mutated_archives_give_the_files_or_one_line(place: Path) -> None:
    """Mutate the tar inside, because gzip's checksum detects mutations of the compressed file."""
    chance = random.Random(0)
    tar = gzip.decompress(WHOLE)
    headers = [place for place in range(0, len(tar), 512) if tar[place + 257 : place + 262] == b"ustar"]
    num_refused = 0
    for _ in range(60):
        mutated = bytearray(tar)
        for _ in range(chance.randint(1, 3)):
            header = chance.choice(headers)
            mutated[header + chance.randrange(512)] = chance.randrange(256)
            if chance.random() < 0.8:  # with a corrected header checksum
                mutated[header + 148 : header + 156] = b" " * 8
                mutated[header + 148 : header + 156] = b"%06o\0 " % sum(mutated[header : header + 512])
        content = gzip.compress(bytes(mutated), 1)
        path = place / "small.tar.gz"
        path.write_bytes(content)
        message = None
        try:
            unpack(archive_of(content), path, place)
        except DataError as refused:
            message = str(refused)
        if message is not None:
            num_refused += 1
            assert len(message.splitlines()) == 1
        else:
            names = {item.name for item in (place / FOLDER).iterdir()}
            assert names == set(official_files())
            for item in (place / FOLDER).iterdir():
                item.unlink()
            (place / FOLDER).rmdir()
        assert sorted(os.listdir(place)) == ["small.tar.gz"]
    assert 10 < num_refused < 60


def test_differences_from_the_official_files_are_named(place: Path) -> None:
    (place / "small.tar.gz").write_bytes(WHOLE)
    folder = unpack(archive_of(WHOLE), place / "small.tar.gz", place)
    (folder / "data_batch_2.bin").write_bytes(b"other")
    assert find_difference(archive_of(WHOLE), folder) == "data_batch_2.bin is not the official file"
    (folder / "data_batch_2.bin").unlink()
    assert find_difference(archive_of(WHOLE), folder) == "data_batch_2.bin is missing"
