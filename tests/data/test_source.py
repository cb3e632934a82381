"""Opening data sets: names, kinds, and when a folder of images replaces a data set."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from firstlight.data.images import ImageSet
from firstlight.data.source import SOURCES, FolderSource, open_source
from firstlight.errors import DataError, UsageError
from reference.photo_folders import make_folder
from reference.tiny import tiny_split


def test_an_unknown_name_is_refused_with_the_names_to_choose_from() -> None:
    with pytest.raises(
        UsageError, match=r"no data set is called 'mnist': choose one of cifar10, .*, folder, or hf:NAME$"
    ):
        open_source("mnist")


@pytest.mark.parametrize("name", list(SOURCES))
def test_opening_reads_and_downloads_nothing(name: str, tmp_path: Path) -> None:
    source = open_source(name, tmp_path)
    assert source.name == name
    assert list(tmp_path.iterdir()) == []


def test_a_function_that_reads_a_split_is_a_source(tiny: str, tmp_path: Path) -> None:
    source = open_source(tiny, tmp_path)
    source.fetch()
    assert source.train().digest() == source.read("train").digest() == tiny_split("train").digest()
    assert source.test().digest() == tiny_split("test").digest()
    assert source.val() is None
    assert source.remarks(source.train()) == []
    assert source.describe() == {"name": "tiny", "place": str(tmp_path)}


def test_only_folders_of_images_are_resized(tiny: str) -> None:
    assert open_source(tiny, image_size=16).test().size_px == (16, 16)
    with pytest.raises(UsageError, match="image_size 48 is for folders of images: those of tiny are 16x16"):
        open_source(tiny, image_size=48).test()
    with pytest.raises(UsageError, match="image_size must be 16 to 512 pixels, or 0, not 15"):
        open_source("folder", image_size=15)


def test_a_folder_has_its_own_name_and_its_own_validation_images(tmp_path: Path) -> None:
    root = make_folder(tmp_path / "photos", {"train/red": 3, "train/green": 3, "val/red": 2, "test/red": 1})
    source = open_source("folder", root)
    assert isinstance(source, FolderSource)
    assert source.adapts_recipe
    assert source.describe() == {"name": "photos", "place": str(root)}
    val = source.val()
    assert isinstance(val, ImageSet)
    assert [len(source.train()), len(val), len(source.test())] == [6, 2, 1]
    assert open_source("folder", make_folder(tmp_path / "bare", {"red": 3, "green": 3})).val() is None


def test_all_splits_of_a_folder_come_from_one_listing_of_its_files(tmp_path: Path) -> None:
    root = make_folder(tmp_path, {"red": 10, "green": 10})
    source = open_source("folder", root)
    train = source.train()
    make_folder(root / "blue", {"late": 5})
    assert source.test().class_names == train.class_names == ("green", "red")


@pytest.mark.parametrize(
    ("name", "is_named", "expected"),
    [
        ("cifar10", True, "folder"),
        ("cifar10", False, "folder"),
        ("cifar100", True, "cifar100"),
        ("cifar100", False, "folder"),
        ("drawn", True, "drawn"),
        ("drawn", False, "folder"),
        ("folder", True, "folder"),
    ],
)
def test_a_folder_of_images_replaces_a_default(tmp_path: Path, name: str, is_named: bool, expected: str) -> None:
    root = make_folder(tmp_path, {"red": 3, "green": 3})
    assert open_source(name, root, is_named=is_named).name == expected


def test_an_embedded_default_beside_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere: no such folder"):
        open_source("drawn", tmp_path / "nowhere", is_named=False)
    assert open_source("drawn", "data", is_named=False).name == "drawn"


def test_each_call_returns_a_new_image_set(tiny: str) -> None:
    source = open_source(tiny)
    source.train().images.zero_()
    assert torch.equal(source.train().images, tiny_split("train").images)
