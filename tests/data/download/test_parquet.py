"""The official binary batches are rebuilt from parquet files of the same images; one other pixel is refused."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from firstlight.cli import main
from firstlight.data.cifar_formats import BINARY_SHA256
from firstlight.data.download import downloader
from firstlight.data.download.manifest import MANIFEST, Archive
from firstlight.data.download.parquet import rebuild
from firstlight.errors import DataError
from reference.archive_files import FOLDER, archive_of, official_files
from reference.fault_server import FaultServer
from reference.parquet_sets import rows_of, write_batches, write_parquet, write_rows

pytest.importorskip("datasets")


@pytest.fixture
def small(tmp_path: Path) -> tuple[Archive, list[Path], dict[str, bytes]]:
    """A small archive, and parquet files with its images."""
    batches = official_files()
    return archive_of(b""), write_batches(tmp_path / "parquet", batches), batches


def test_the_batches_are_rebuilt_byte_for_byte(
    small: tuple[Archive, list[Path], dict[str, bytes]], tmp_path: Path
) -> None:
    archive, paths, batches = small
    folder = rebuild(archive, paths, tmp_path)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == batches


@pytest.mark.parametrize("change", ["pixel", "label", "order", "short", "size", "damaged", "columns"])
def test_other_images_are_refused_and_nothing_is_written(
    small: tuple[Archive, list[Path], dict[str, bytes]], tmp_path: Path, change: str
) -> None:
    archive, paths, batches = small
    labels, pixels = rows_of([batches["test_batch.bin"]])
    labels, pixels = labels.copy(), pixels.copy()
    if change == "pixel":
        pixels[3, 5, 7, 1] ^= 1
    elif change == "label":
        labels[3] = (labels[3] + 1) % 10
    elif change == "order":
        pixels[[0, 1]] = pixels[[1, 0]]
    elif change == "short":
        labels, pixels = labels[:-1], pixels[:-1]
    elif change == "size":
        pixels = np.zeros((len(labels), 8, 8, 3), np.uint8)
    path = write_rows(tmp_path / "parquet", "test", (labels, pixels))
    if change == "damaged":
        path.write_bytes(path.read_bytes()[:-100])
    elif change == "columns":
        write_parquet(tmp_path / "parquet", "test", {"text": ["a"]}, None)
    (tmp_path / "data").mkdir()
    with pytest.raises(DataError) as refused:
        rebuild(archive, paths, tmp_path / "data")
    assert "refused: " in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1
    assert list((tmp_path / "data").iterdir()) == []


def test_download_takes_the_parquet_files_where_no_archive_can_be_had(
    small: tuple[Archive, list[Path], dict[str, bytes]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    archive, paths, batches = small
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "FIRSTLIGHT_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    contents = [path.read_bytes() for path in paths]
    with FaultServer(contents[0]) as train, FaultServer(contents[1]) as test:
        urls = tuple(server.url("none") for server in (train, test))
        monkeypatch.setattr(
            downloader, "MANIFEST", {"cifar10": (replace(archive, parquet=(urls[0], urls[1] + "-test")),)}
        )
        assert main(["download", "--data_dir", str(tmp_path / "a")]) == 0
        assert main(["download", "--version", "parquet", "--data_dir", str(tmp_path / "b")]) == 0
    for name in "ab":
        assert [path.name for path in (tmp_path / name).iterdir()] == [FOLDER]
        assert {path.name: path.read_bytes() for path in (tmp_path / name / FOLDER).iterdir()} == batches
    assert main(["download", "cifar10", "--version", "python", "--data_dir", str(tmp_path / "c")]) == 2
    assert "cifar10 has no python version" in capsys.readouterr().err


@pytest.mark.slow
def test_the_official_batches_are_rebuilt_and_one_other_pixel_is_refused(cifar10_dir: Path, tmp_path: Path) -> None:
    archive = MANIFEST["cifar10"][0]
    folder = cifar10_dir / archive.folder
    batches = {name: (folder / name).read_bytes() for name in BINARY_SHA256}
    paths = write_batches(tmp_path, batches)
    rebuilt = rebuild(archive, paths, tmp_path)
    assert {name: hashlib.sha256((rebuilt / name).read_bytes()).hexdigest() for name in BINARY_SHA256} == BINARY_SHA256
    assert (rebuilt / "batches.meta.txt").read_bytes() == (folder / "batches.meta.txt").read_bytes()
    labels, pixels = rows_of([batches["test_batch.bin"]])
    changed = pixels.copy()
    changed[9_999, 31, 31, 2] ^= 1
    (tmp_path / "other").mkdir()
    other = write_rows(tmp_path / "other", "test", (labels, changed))
    with pytest.raises(DataError, match=r"the rebuilt test_batch\.bin is not the official file"):
        rebuild(archive, [paths[0], other], tmp_path / "other")
    assert not (tmp_path / "other" / archive.folder).exists()
