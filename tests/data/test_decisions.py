"""Decisions about images: what a file of them changes, and what is refused."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from firstlight.data.decisions import Decisions
from firstlight.data.images import ImageSet
from firstlight.errors import DataError
from reference.tiny import tiny_split


@pytest.fixture
def images() -> ImageSet:
    images = tiny_split("train")
    return replace(images, file_names=tuple(f"photos/{index}.png" for index in range(len(images))))


def decisions(*lines: str, columns: str = "split,id,file,decision") -> Decisions:
    return Decisions("\n".join((columns, *lines)), "decisions.csv")


def test_images_are_dropped_relabelled_and_kept(images: ImageSet) -> None:
    found = decisions("train,3,,drop", "train,5,,relabel:blue", "train,6,,keep", "test,0,,drop", "train,7,,")
    changed = found.apply(images, "train")
    expected = [(index, label) for index, label in enumerate(images.labels.tolist()) if index != 3]
    expected[4] = (5, images.class_names.index("blue"))
    assert list(zip(changed.ids.tolist(), changed.labels.tolist(), strict=True)) == expected
    assert changed.images[4].equal(images.images[5])
    assert images.labels[5] == 5 % 4, "the images that were passed stay as they are"


def test_a_file_is_found_by_its_name_although_its_id_has_changed(images: ImageSet) -> None:
    changed = decisions("train,0,photos/9.png,drop").apply(images, "train")
    assert sorted(set(images.ids.tolist()) - set(changed.ids.tolist())) == [9]


def test_a_file_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    text = "split,id,decision\ntrain,1,drop\n"
    path.write_text(text, encoding="utf-8-sig")
    found = Decisions.read(path)
    assert [(row.split, row.id, row.decision) for row in found.rows] == [("train", 1, "drop")]
    assert found.digest == hashlib.sha256(text.encode()).hexdigest()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("split,id\ntrain,1\n", "the first line must name the columns split, id, file, decision"),
        ("split,decision\ntrain,drop\n", "the first line must name the columns"),
        ("split,id,decision\nTrain,1,drop\n", "line 2: the split must be one of train, val, test"),
        ("split,id,decision\ntrain,1,delete\n", "line 2: 'delete' is none of keep, drop and relabel:NAME"),
        ("split,id,decision\ntrain,1,relabel:\n", "'relabel:' is none of"),
        ("split,id,decision\ntrain,one,drop\n", "line 2: names neither a file nor an id"),
        ("split,id,decision\ntrain,1,drop\ntrain,1,keep\n", "lines 2 and 3 disagree about the same image"),
    ],
)
def test_malformed_files_are_refused_at_once(text: str, says: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=r"mine\.csv") as error:
        Decisions.read(path)
    assert says in str(error.value)


@pytest.mark.parametrize("content", [None, b"\xff\xfe\x00"])
def test_files_that_cannot_be_read_are_named(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=r"mine\.csv: cannot be read as decisions"):
        Decisions.read(path)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("train,1,,relabel:purple", "line 2: no class is called 'purple'"),
        ("train,9999,,drop", "train has no image 9999"),
        ("train,1,photos/none.png,drop", "train has no image photos/none.png"),
    ],
)
def test_decisions_about_other_data_are_refused(line: str, says: str, images: ImageSet) -> None:
    with pytest.raises(DataError) as error:
        decisions(line).apply(images, "train")
    assert says in str(error.value)
