"""A data set that decisions have changed: every split, its remarks and its description."""

from __future__ import annotations

from pathlib import Path

import pytest

from firstlight.data.decided_source import DecidedSource
from firstlight.data.decisions import Decisions
from firstlight.data.source import open_source
from firstlight.errors import DataError
from reference.photo_folders import make_folder

COLUMNS = "split,id,file,decision"


def decided(folder: Path, *lines: str) -> DecidedSource:
    source = open_source("cifar10", folder, 16)
    return DecidedSource(source, Decisions("\n".join((COLUMNS, *lines)), "d.csv"))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    counts = {f"{split}/{name}": 4 for split in ("train", "val", "test") for name in ("red", "green")}
    return make_folder(tmp_path / "photos", counts)


def test_each_split_is_changed_by_its_own_decisions(photos: Path) -> None:
    whole = open_source("cifar10", photos, 16)
    source = decided(
        photos,
        "train,,train/red/000.png,drop",
        "train,,train/green/001.png,relabel:red",
        "val,,val/red/002.png,drop",
        "test,,test/green/003.png,keep",
    )
    train, val, test = source.train(), source.val(), source.test()
    assert val is not None
    names = dict(zip(train.file_names or (), train.labels.tolist(), strict=True))
    assert "train/red/000.png" not in names
    assert train.class_names[names["train/green/001.png"]] == "red"
    assert [len(each) for each in (train, val, test)] == [7, 7, 8]
    assert test.digest() == whole.test().digest()
    assert source.external_test().digest() == whole.external_test().digest()
    assert source.read("train").digest() == train.digest()
    assert len(source.file_attributes(train)["file size"]) == 7
    assert source.remarks(train)[-1] == "d.csv: 2 images dropped, 1 relabelled, 1 kept as they are"
    assert source.describe() == whole.describe() | {"decisions": source.decisions.digest}
    assert source.adapts_recipe


def test_decisions_about_a_split_that_is_missing_are_refused(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "photos", {"red": 8, "green": 8})
    source = decided(folder, "val,0,,drop")
    with pytest.raises(DataError, match=r"d\.csv: decides on images of val, but folder has no such split"):
        source.val()
    assert decided(folder).val() is None
