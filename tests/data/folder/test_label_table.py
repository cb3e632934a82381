"""A CSV of files and labels; a row that is wrong is named by its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from firstlight.data.folder.open_layout import open_layout
from firstlight.data.source import open_source
from firstlight.errors import DataError
from reference.photo_folders import make_folder


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return make_folder(tmp_path / "photos", {"a": 6, "b": 6})


def table(photos: Path, *lines: str, encoding: str = "utf-8") -> Path:
    path = photos / "labels.csv"
    path.write_text("\n".join(lines) + "\n", encoding=encoding)
    return path


def rows(*labels: str) -> list[str]:
    """Rows of the twelve files with these labels in turn."""
    files = [f"{folder}/{number:03}.png" for folder in "ab" for number in range(6)]
    return [f"{file},{labels[index % len(labels)]}" for index, file in enumerate(files)]


def test_labels_come_from_the_table_and_not_from_the_folders(photos: Path) -> None:
    path = table(photos, "file,label", *rows("emu", '"red, wine"'))
    source = open_source("cifar10", path)
    images = [source.train(), source.test()]
    assert images[0].class_names == ("emu", "red, wine")
    assert sorted(name for each in images for name in each.file_names or ()) == [row.split(",")[0] for row in rows("x")]
    for each in images:
        numbers = [int(Path(name).stem) for name in each.file_names or ()]
        assert [number % 2 for number in numbers] == each.labels.tolist()
    assert [len(each) for each in images] == [10, 2]
    assert source.remarks(images[0])[0] == f"{path}: 2 classes (emu, red, wine)"


def test_the_table_may_give_the_splits_and_other_columns(photos: Path) -> None:
    splits = ["train", "Training", "val", "validation", "test", "TEST"]
    pairs = [row.split(",") for row in rows("u", "v")]
    lines = [f"{splits[index % 6]},{label},x,{file}" for index, (file, label) in enumerate(pairs)]
    path = table(photos, "split,label,note,file", *lines, encoding="utf-8-sig")
    layout = open_layout(path)
    assert {split: [file.relative_path for file in files] for split, files in layout.files.items()} == {
        "train": ["a/000.png", "a/001.png", "b/000.png", "b/001.png"],
        "val": ["a/002.png", "a/003.png", "b/002.png", "b/003.png"],
        "test": ["a/004.png", "a/005.png", "b/004.png", "b/005.png"],
    }


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        (["name,label", "a/000.png,x"], "needs the columns file and label, .* its columns: name, label"),
        (["file;label", "a/000.png;x"], "its columns: file;label"),
        (["file,label,label", "a/000.png,x,y"], "each once"),
        ([], "its columns: none"),
        (["file,label", "a/000.png,x", "a/009.png,y"], r"line 3: .*a/009.png: no such file that can be read"),
        (["file,label", "a,x"], "line 2: .*a is not a file"),
        (["file,label", "../labels.csv,x"], "line 2: ../labels.csv is outside the folder"),
        (["file,label", "/etc/passwd,x"], "line 2: /etc/passwd is outside the folder"),
        (["file,label", "a/000.png, "], "line 2: a/000.png has no label"),
        (["file,label", "a/000.png"], "line 2: a/000.png has no label"),
        (["file,label", ",x"], "line 2: names no file"),
        (["file,label", "a/000.png,x", "./a/000.png,x"], "line 3: a/000.png is already in line 2"),
        (["file,label", "a/000.png,x,y"], "line 2: has more values than the first line has columns"),
        (["file,label,split", "a/000.png,x,dev"], "line 2: split 'dev' of a/000.png is not train, val or test"),
        (["file,label,split", "a/000.png,x,"], "line 2: split '' of a/000.png is not train, val or test"),
        (["file,label", "a/000.png,x", 'a/001.png,"x'], "is no CSV file in UTF-8"),
        (["file,label", *rows("x")], "holds only images of 'x'"),
    ],
)
def test_a_wrong_table_is_refused_in_one_line(photos: Path, lines: list[str], says: str) -> None:
    path = table(photos, *lines)
    with pytest.raises(DataError, match=says) as refused:
        open_source("folder", path).train()
    assert str(refused.value).startswith(str(path))
    assert len(str(refused.value).splitlines()) == 1


def test_a_table_in_another_encoding_is_refused(photos: Path) -> None:
    with pytest.raises(DataError, match="is no CSV file in UTF-8"):
        open_layout(table(photos, "file,label", "a/000.png,café", encoding="latin-1"))
