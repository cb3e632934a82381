"""Attributes of image files: those that the file system and the headers have."""

from __future__ import annotations

from PIL import Image

from firstlight.data.source import open_source
from reference.photo_folders import make_folder, save_photo


def test_file_sizes_and_resolutions_are_those_of_the_files(tmp_path):
    root = make_folder(tmp_path / "photos", {"train/red": 4, "train/blue": 4, "test/red": 2, "test/blue": 2})
    save_photo(root / "test" / "red" / "large.png", (200, 40, 40), size=(90, 60))
    source = open_source("folder", root, 16)
    images = source.test()
    found = source.file_attributes(images)
    paths = [root / name for name in images.file_names]
    assert found["file size"].tolist() == [path.stat().st_size for path in paths]
    assert found["original resolution"].tolist() == [Image.open(path).width * Image.open(path).height for path in paths]
    assert 90 * 60 in found["original resolution"].tolist()
    paths[0].unlink()
    assert source.file_attributes(images) == {}, "a file that is gone has no attributes"


def test_other_data_sets_have_none():
    source = open_source("drawn")
    assert source.file_attributes(source.test()[:2]) == {}
