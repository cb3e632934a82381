"""CIFAR-100 from both readers, compared with the images, labels and names of an independent writer."""

from __future__ import annotations

import hashlib
import os
import pickle
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from firstlight.data.cifar import read_cifar100
from firstlight.data.cifar_formats import (
    CIFAR100_BINARY_SHA256,
    CIFAR100_CLASSES,
    CIFAR100_PYTHON_MD5,
    CIFAR100_SUPERCLASSES,
)
from firstlight.data.download.manifest import MANIFEST
from firstlight.data.images import ImageSet
from firstlight.data.source import open_source
from firstlight.errors import DataError
from reference.batch_files import pickled
from reference.cifar100_files import COARSE_OF_FINE, binary_batch, files_of, python_batch, small_split

VERSIONS = ("binary", "python")
NUM_TRAIN, NUM_TEST = 200, 100
PIXELS, FINE, COARSE = small_split(NUM_TEST, seed=2)
RECORD_BYTES = 3074


def data_dir_of(place: Path, version: str, **replaced: bytes) -> Path:
    folder = place / f"cifar-100-{version}"
    folder.mkdir(parents=True)
    files = files_of(version, CIFAR100_CLASSES, CIFAR100_SUPERCLASSES, NUM_TRAIN, NUM_TEST)
    for name, each in (files | replaced).items():
        (folder / name).write_bytes(each)
    return place


def read(place: Path, split: str = "test", *, coarse: bool = False) -> ImageSet:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return read_cifar100(place, split, coarse=coarse)  # type: ignore[arg-type]


def refusal(place: Path, *, coarse: bool = False) -> str:
    with pytest.raises(DataError) as refused:
        read(place, coarse=coarse)
    message = str(refused.value)
    assert len(message.splitlines()) == 1
    return message


@pytest.mark.parametrize("version", VERSIONS)
def test_images_and_fine_labels_are_read_as_written(tmp_path: Path, version: str) -> None:
    place = data_dir_of(tmp_path, version)
    found = read(place)
    assert np.array_equal(found.images.numpy(), PIXELS)
    assert found.labels.tolist() == FINE
    assert found.class_names == CIFAR100_CLASSES
    assert (found.name, len(read(place, "train"))) == ("CIFAR-100 test", NUM_TRAIN)
    assert torch.equal(read(place / f"cifar-100-{version}").images, found.images)  # the inner folder is accepted, too


@pytest.mark.parametrize("version", VERSIONS)
def test_superclasses_are_a_separate_data_set(tmp_path: Path, version: str) -> None:
    place = data_dir_of(tmp_path, version)
    with pytest.warns(UserWarning, match="not the official release"):
        found = open_source("cifar100-coarse", place).test()
    assert found.labels.tolist() == COARSE
    assert found.class_names == CIFAR100_SUPERCLASSES


def test_both_versions_give_the_same_set(tmp_path: Path) -> None:
    for coarse in (False, True):
        binary, python = (read(data_dir_of(tmp_path / f"{v}{coarse}", v), coarse=coarse) for v in VERSIONS)
        assert binary.digest() == python.digest()


def test_the_known_names_are_a_hundred_and_twenty_and_fit_the_published_superclasses() -> None:
    assert len(set(CIFAR100_CLASSES)) == 100
    assert list(CIFAR100_CLASSES) == sorted(CIFAR100_CLASSES)
    assert len(set(CIFAR100_SUPERCLASSES)) == 20
    fish = {CIFAR100_CLASSES[i] for i in range(100) if CIFAR100_SUPERCLASSES[COARSE_OF_FINE[i]] == "fish"}
    trees = {CIFAR100_CLASSES[i] for i in range(100) if CIFAR100_SUPERCLASSES[COARSE_OF_FINE[i]] == "trees"}
    assert fish == {"aquarium_fish", "flatfish", "ray", "shark", "trout"}
    assert trees == {"maple_tree", "oak_tree", "palm_tree", "pine_tree", "willow_tree"}


@pytest.mark.parametrize(("version", "name"), [("binary", "fine_label_names.txt"), ("python", "meta")])
def test_without_the_file_of_names_the_known_names_are_used(tmp_path: Path, version: str, name: str) -> None:
    place = data_dir_of(tmp_path, version)
    (place / f"cifar-100-{version}" / name).unlink()
    assert read(place).class_names == CIFAR100_CLASSES
    assert read(place, coarse=version == "python").labels.tolist() == (COARSE if version == "python" else FINE)


@pytest.mark.parametrize(
    ("version", "name", "algorithm"), [("binary", "test.bin", "sha256"), ("python", "test", "md5")]
)
def test_files_that_differ_from_the_release_are_read_with_one_warning_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str, name: str, algorithm: str
) -> None:
    place = data_dir_of(tmp_path, version)
    files = files_of(version, CIFAR100_CLASSES, CIFAR100_SUPERCLASSES, NUM_TRAIN, NUM_TEST)
    table = CIFAR100_BINARY_SHA256 if version == "binary" else CIFAR100_PYTHON_MD5
    for each in table:
        monkeypatch.setitem(table, each, hashlib.new(algorithm, files[each]).hexdigest())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read_cifar100(place, "test")  # now the digests match
    content = bytearray(files[name])
    content[2000] ^= 1
    (place / f"cifar-100-{version}" / name).write_bytes(content)
    with pytest.warns(UserWarning, match=f"{name}: well formed, but not the official release") as warned:
        read_cifar100(place, "test")
    assert len(warned) == 1


RECORDS = binary_batch(PIXELS, FINE, COARSE)
HIGH = [*FINE[:3], 100, *FINE[4:]]
HIGH_COARSE = [*COARSE[:3], 20, *COARSE[4:]]
PYTHON = python_batch(PIXELS, FINE, COARSE)
ROWS = PIXELS.reshape(NUM_TEST, -1)
HIGHEST_BYTE = 3 * RECORD_BYTES


@pytest.mark.parametrize(
    ("version", "coarse", "files", "found"),
    [
        ("binary", False, {"test.bin": RECORDS[:-1]}, f"ends inside a record at byte {NUM_TEST * RECORD_BYTES - 1}"),
        ("binary", False, {"test.bin": RECORDS[:3073]}, "records are 3074 bytes"),
        (
            "binary",
            False,
            {"test.bin": binary_batch(PIXELS, HIGH, COARSE)},
            f"label 100 at byte {HIGHEST_BYTE + 1}",
        ),
        (
            "binary",
            True,
            {"test.bin": binary_batch(PIXELS, FINE, HIGH_COARSE)},
            f"label 20 at byte {HIGHEST_BYTE}",
        ),
        ("binary", False, {"test.bin": b""}, "ends at byte 0 without an image"),
        ("binary", False, {"fine_label_names.txt": b"apple\n" * 99}, "with 99 class names, CIFAR-100 has 100"),
        ("binary", True, {"coarse_label_names.txt": b"fish\n" * 21}, "with 21 class names, CIFAR-100 has 20"),
        ("python", False, {"test": PYTHON[:-1]}, f"refused at byte {len(PYTHON) - 1}"),
        ("python", False, {"test": python_batch(PIXELS, HIGH, COARSE)}, "label 100 at position 3 of 'fine_labels'"),
        (
            "python",
            True,
            {"test": python_batch(PIXELS, FINE, HIGH_COARSE)},
            "label 20 at position 3 of 'coarse",
        ),
        (
            "python",
            False,
            {"test": pickled({b"data": ROWS, b"labels": FINE})},
            "without 'fine_labels' as a list",
        ),
        ("python", False, {"meta": pickled({b"label_names": [b"a"] * 100})}, "without 'fine_label_names'"),
    ],
)
def test_a_malformed_file_is_refused_with_name_and_offset(
    tmp_path: Path, version: str, coarse: bool, files: dict[str, bytes], found: str
) -> None:
    message = refusal(data_dir_of(tmp_path, version, **files), coarse=coarse)
    (name,) = files
    assert str(tmp_path / f"cifar-100-{version}" / name) in message
    assert found in message


def test_missing_data_is_an_error_that_names_both_paths_and_what_to_do(tmp_path: Path) -> None:
    message = refusal(tmp_path)
    assert message.startswith(f"no CIFAR-100 in {tmp_path}: expected ")
    for version in VERSIONS:
        assert str(tmp_path / f"cifar-100-{version}") in message
    assert "--data_dir" in message


class _Command:
    """An object whose unpickling by pickle.load would create a file."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.place),)


@pytest.mark.parametrize("name", ["test", "meta"])
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_malicious_pickle_is_refused_in_one_line_and_never_executed(tmp_path: Path, name: str, protocol: int) -> None:
    trap = tmp_path / "trap"
    hostile = pickle.dumps({b"data": _Command(trap), b"fine_labels": [0]}, protocol=protocol)
    message = refusal(data_dir_of(tmp_path / "data", "python", **{name: hostile}))
    assert f"{name}: refused at byte" in message
    assert not trap.exists()
    pickle.loads(hostile)
    assert trap.exists(), "the trap would not have worked"


def test_sizes_in_the_manifest_are_those_of_the_format() -> None:
    binary, python = MANIFEST["cifar100"]
    assert binary.members["train.bin"].max_bytes == 50_000 * RECORD_BYTES
    assert binary.members["test.bin"].max_bytes == 10_000 * RECORD_BYTES
    for name, num_images in (("train", 50_000), ("test", 10_000)):
        overhead = python.members[name].max_bytes - num_images * 3072
        # two labels of two bytes each, and a string of about twenty letters with its length and memo index
        assert overhead / num_images == pytest.approx(2 * 2 + 2 + 5 + 22, abs=0.1)
