"""The manifest against the digests and sizes in the readers."""

from __future__ import annotations

import hashlib
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from firstlight.data.cifar_formats import BINARY_SHA256, CIFAR100_BINARY_SHA256, CIFAR100_PYTHON_MD5, PYTHON_MD5
from firstlight.data.download.manifest import MANIFEST, Archive

ARCHIVES = {each.name: each for archives in MANIFEST.values() for each in archives}
BINARY, PYTHON = MANIFEST["cifar10"]


def test_the_archives_are_the_published_ones() -> None:
    assert {name: (each.size, each.sha256) for name, each in ARCHIVES.items()} == {
        "cifar-10-binary.tar.gz": (170052171, "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"),
        "cifar-10-python.tar.gz": (170498071, "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce"),
        "cifar-100-binary.tar.gz": (168513733, "58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec"),
        "cifar-100-python.tar.gz": (169001437, "85cd44d02ba6437773c5bbd22e183051d648de2e7d6b014e1ef29b855ba677a7"),
    }


@pytest.mark.parametrize("archive", ARCHIVES.values(), ids=ARCHIVES)
def test_every_address_is_safe_and_the_official_server_is_asked_first(archive: Archive) -> None:
    assert archive.sha256, "what cannot be verified must not be downloaded"
    assert archive.urls[0] == f"https://www.cs.toronto.edu/~kriz/{archive.name}"
    for url in archive.urls:
        assert urlsplit(url).scheme == "https"
        assert url.endswith("/" + archive.name)


@pytest.mark.parametrize("name", MANIFEST)
def test_the_binary_version_comes_first(name: str) -> None:
    assert [each.version for each in MANIFEST[name]] == ["binary", "python"]


def test_both_labellings_of_cifar100_are_the_same_download() -> None:
    assert MANIFEST["cifar100"] is MANIFEST["cifar100-coarse"]


def test_digests_of_the_files_are_the_readers() -> None:
    assert {name: member.sha256 for name, member in BINARY.members.items() if member.sha256} == BINARY_SHA256
    binary, python = MANIFEST["cifar100"]
    assert {name: member.sha256 for name, member in binary.members.items() if member.sha256} == CIFAR100_BINARY_SHA256
    assert {name: member.md5 for name, member in python.members.items()} == CIFAR100_PYTHON_MD5


def test_the_python_files_are_the_readers() -> None:
    assert list(PYTHON.members) == list(PYTHON_MD5)


@pytest.mark.parametrize("archive", [BINARY, PYTHON], ids=["binary", "python"])
def test_the_official_files_have_these_digests_and_fit(archive: Archive, cifar10_dir: Path) -> None:
    for name, member in archive.members.items():
        content = (cifar10_dir / archive.folder / name).read_bytes()
        assert len(content) <= member.max_bytes
        assert member.sha256 in (None, hashlib.sha256(content).hexdigest())


def test_a_manifest_cannot_be_changed_by_accident() -> None:
    with pytest.raises(TypeError):
        MANIFEST["cifar10"] = ()  # type: ignore[index]
