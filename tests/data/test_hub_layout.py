"""Hugging Face data sets from folders of parquet files: columns, splits, classes, pixels and errors of one line."""

from __future__ import annotations

import io
import logging
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from firstlight.data.hub_columns import Columns
from firstlight.data.hub_layout import hub_layout, whole_name
from firstlight.data.source import HubSource, open_source
from firstlight.errors import DataError, FirstlightError, MissingPackageError, UsageError
from reference.parquet_sets import photo, write_parquet, write_set
from reference.photo_folders import make_folder

datasets = pytest.importorskip("datasets")
RED, GREEN = (200, 40, 40), (40, 200, 40)


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIRSTLIGHT_CACHE", str(tmp_path / "cache"))


def refusal(folder: Path | str, columns: Columns = Columns()) -> str:
    with pytest.raises(FirstlightError) as refused:
        open_source(f"hf:{folder}", columns=columns).train()
    message = str(refused.value)
    assert message.startswith(f"hf:{folder}: "), message
    assert len(message.splitlines()) == 1
    return message


def test_splits_classes_and_pixels_are_those_of_the_set(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = write_set(tmp_path / "set", {"train": 12, "validation": 6, "test": 3})
    caplog.set_level(logging.INFO, "firstlight")
    source = open_source(f"hf:{folder}")
    train, val, test = source.train(), source.val(), source.test()
    assert val is not None
    assert [len(train), len(val), len(test)] == [12, 6, 3]
    assert train.class_names == ("red", "green", "blue")  # in the order of ClassLabel
    assert train.labels.tolist() == [0, 1, 2] * 4
    assert train.file_names is not None
    assert train.file_names[:2] == ("train/00", "train/01")
    expected = Image.open(io.BytesIO(photo(GREEN, 1))).crop((4, 0, 36, 32))  # the centred square
    assert train.images[1].permute(1, 2, 0).numpy().tolist() == np.asarray(expected).tolist()
    assert source.describe() == {"name": "set", "place": f"hf:{folder}"}
    assert caplog.messages == [
        f"hf:{folder}: images from column 'img', labels from 'label'; splits train (12), validation (6), test (3)"
    ]
    attributes = source.file_attributes(train)
    assert attributes["original resolution"].tolist() == [32 * 40] * 12
    assert attributes["file size"][1] == len(photo(GREEN, 1))
    assert source.remarks(train)[0] == f"hf:{folder}: 3 classes (red, green, blue)"


def test_without_a_test_split_a_fifth_of_each_class_is_held_back(tmp_path: Path) -> None:
    folder = write_set(tmp_path / "set", {"everything": 30})
    source = open_source(f"hf:{folder}")
    assert source.test().labels.bincount().tolist() == [2, 2, 2]
    assert len(source.train()) == 24
    assert len(source.external_test()) == 30


def test_plain_tables_and_other_label_types(tmp_path: Path) -> None:
    images = [photo(RED if row % 2 else GREEN, row) for row in range(8)]
    as_structs: list[Any] = [{"bytes": image, "path": "a.png"} for image in images]
    for name, column, labels, classes in (
        ("texts", images, ["b", "a"] * 4, ("a", "b")),
        ("numbers", as_structs, [10, 9] * 4, ("9", "10")),
    ):
        write_parquet(tmp_path / name, "train", {"picture": column, "target": labels, "id": list(range(8))}, None)
        train = open_source(f"hf:{tmp_path / name}").train()
        assert train.class_names == classes
    assert train.labels.tolist() == [int(name.split("/")[1]) % 2 == 0 for name in train.file_names or ()]


def test_columns_are_named_where_several_may_be_meant(tmp_path: Path) -> None:
    features = {
        "img": datasets.Image(),
        "fine": datasets.ClassLabel(names=["a", "b"]),
        "coarse": datasets.ClassLabel(names=["x", "y"]),
        "note": datasets.Value("string"),
    }
    rows = {
        "img": [{"bytes": photo(RED, row), "path": None} for row in range(8)],
        "fine": [0, 1] * 4,
        "coarse": [0, 0, 1, 1] * 2,
        "note": ["n"] * 8,
    }
    folder = tmp_path / "set"
    write_parquet(folder, "train", rows, features)
    assert refusal(folder).endswith("choose one of its columns with --label_column: fine, coarse")
    assert "has no column 'label' for --label_column" in refusal(folder, Columns(label="label"))
    assert "the column 'note' holds no images" in refusal(folder, Columns(image="note", label="fine"))
    assert "the column 'img' holds no labels" in refusal(folder, Columns(label="img"))
    source = open_source(f"hf:{folder}", columns=Columns("img", "coarse"))
    assert source.train().class_names == ("x", "y")
    assert source.columns == ("img", "coarse")


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        ({"text": ["a", "b"], "label": [0, 1]}, "has no column of images. Its columns: text (string), label (int64)"),
        ({"img": [b"x", b"y"], "score": [0.5, 1.5]}, "has no column of labels"),
        ({"img": [b"x", b"y"], "label": [0, 0]}, "holds only images of '0'"),
        ({"img": [b"x", b"y"] * 3, "label": [0, 1] * 3}, "no image of '0' can be read"),
        ({"img": [None, photo(RED, 0)] * 3, "label": [0, 1] * 3}, "no image of '0' can be read"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*cannot be read and are left out")
def test_a_set_without_images_or_labels_is_refused(tmp_path: Path, columns: dict[str, list[Any]], says: str) -> None:
    write_parquet(tmp_path / "set", "train", columns, None)
    assert says in refusal(tmp_path / "set")


def test_rows_without_a_label_are_left_out_and_counted(tmp_path: Path) -> None:
    folder = write_set(tmp_path / "set", {"train": 9})
    features = {"img": datasets.Image(), "label": datasets.ClassLabel(names=["red", "green", "blue"])}
    unlabelled = {"img": [{"bytes": photo(RED, row), "path": None} for row in range(4)], "label": [-1] * 4}
    write_parquet(folder, "test", unlabelled, features)
    layout, _ = hub_layout(f"hf:{folder}", Columns())
    assert layout.skipped == ("4 images of test without a label",)
    assert layout.is_split_here


def test_other_splits_are_skipped_or_refused(tmp_path: Path) -> None:
    folder = write_set(tmp_path / "set", {"train": 9, "unsupervised": 3})
    layout, _ = hub_layout(f"hf:{folder}", Columns())
    assert layout.skipped == ("unsupervised (neither train nor val nor test)",)
    assert "has the splits" in refusal(write_set(tmp_path / "two", {"left": 3, "right": 3}))


def test_decoded_images_are_kept_until_the_files_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from firstlight.data.folder import decode_files

    folder = write_set(tmp_path / "set", {"train": 9})
    before = open_source(f"hf:{folder}").train()
    decode_cheap = decode_files.decode_cheap
    with monkeypatch.context() as patch:
        patch.setattr(decode_files, "decode_cheap", None)
        patch.chdir("/")
        assert open_source(f"hf:{folder}").train().digest() == before.digest()
    write_set(folder, {"train": 9}, ("blue", "green", "red"))
    os.utime(folder / "data" / "train-00000-of-00001.parquet", (1, 1))
    assert decode_files.decode_cheap is decode_cheap
    assert open_source(f"hf:{folder}").train().class_names == ("blue", "green", "red")


def test_a_folder_of_images_is_a_set_too(tmp_path: Path) -> None:
    make_folder(tmp_path / "set", {"train/red": 5, "train/green": 5, "test/red": 2, "test/green": 2})
    source = open_source(f"hf:{tmp_path / 'set'}")
    assert isinstance(source, HubSource)
    assert source.train().class_names == ("green", "red")
    assert source.test().images.float().mean(dim=(2, 3))[0].argmax() == 1  # green


def test_what_cannot_be_loaded_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "train.parquet").write_bytes(b"PAR1 no parquet PAR1")
    assert "cannot be loaded: " in refusal(tmp_path / "bad")
    (tmp_path / "empty").mkdir()
    assert "Name a folder that holds parquet files" in refusal(tmp_path / "empty")
    assert "no such folder" in refusal(tmp_path / "missing")
    assert "Connect to the network" in refusal("nobody/nothing")  # the tests are offline
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "train.csv").write_text("image,label\na,b\n")
    assert "holds csv files. Only parquet files and folders of images are read" in refusal(tmp_path / "texts")
    write_set(tmp_path / "set", {"train": 3})
    assert "hf:NAME:CONFIG" in refusal(f"{tmp_path / 'set'}:nonsense")


def test_a_missing_package_and_malformed_names_are_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("hf:", "hf:a/b/c", "hf:../..\n", "hf:a b"):
        if not name.startswith("hf:.."):
            with pytest.raises(UsageError, match="names no data set"):
                open_source(name)
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingPackageError, match=r"pip install 'firstlight\[hub\]'"):
        open_source(f"hf:{tmp_path}").train()


def test_relative_folders_become_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert whole_name("hf:./set:small") == f"hf:{tmp_path}/set:small"
    with pytest.raises(UsageError, match="for Hugging Face data sets"):
        open_source("drawn", columns=Columns("img"))
    with pytest.raises(DataError, match="no such folder"):
        open_source("hf:./set").train()
