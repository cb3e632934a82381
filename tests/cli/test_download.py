"""`firstlight download`, and the download by `fit`, from a server on this machine."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from firstlight.cli import main
from firstlight.data.download import downloader
from firstlight.networks import ResNet9Config
from firstlight.recipes.config import Recipe
from firstlight.training.data_module import ImageData
from firstlight.training.exercise import CustomResNet
from firstlight.training.trainer import Trainer
from reference.archive_files import FOLDER, NUM_IMAGES, archive_of, official_entries, packed
from reference.fault_server import FaultServer

CONTENT = packed(*official_entries())
QUICK = [
    *("--num_val", "10", "--network.width", "4", "--max_epochs", "1", "--batch_size", "10"),
    *("--logger", "none", "--trainer.accelerator", "cpu"),
]
NOT_OFFICIAL = pytest.mark.filterwarnings("ignore:.*well formed, but not the official release.*")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultServer]:
    """A server with a small CIFAR-10, the only data set in the manifest; downloads are allowed."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "FIRSTLIGHT_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    with FaultServer(CONTENT) as server:
        monkeypatch.setattr(downloader, "MANIFEST", {"cifar10": (archive_of(CONTENT, server.url("none")),)})
        yield server


def test_download_fetches_verifies_and_prints_the_folder(
    server: FaultServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(2):
        assert main(["download", "--data_dir", str(tmp_path)]) == 0
        assert capsys.readouterr().out == f"cifar10: {tmp_path / FOLDER}\n"
    assert len(server.requests) == 1
    (tmp_path / FOLDER / "test_batch.bin").write_bytes(b"changed")
    assert main(["download", "cifar10", "--version", "binary", "--data_dir", str(tmp_path)]) == 2
    printed = capsys.readouterr()
    assert "test_batch.bin is not the official file. Move this folder away" in printed.err
    assert printed.out == ""


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["imagenet"], "choose one of cifar10"),
        (["--version", "python"], "choose one of binary"),
        (["--version", "matlab"], "--version"),
    ],
)
def test_an_unavailable_data_set_is_one_line(
    arguments: list[str], says: str, server: FaultServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["download", *arguments, "--data_dir", str(tmp_path)]) == 2
    printed = capsys.readouterr()
    assert says in printed.err
    assert printed.err.count("\n") == 1
    assert os.listdir(tmp_path) == []


def test_offline_the_error_says_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["download", "cifar10", "cifar100", "--data_dir", str(tmp_path)]) == 2
    assert "--data drawn" in capsys.readouterr().err


@NOT_OFFICIAL
def test_fit_downloads_a_missing_data_set(
    server: FaultServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = ["--data_dir", str(tmp_path / "data"), "--logs_dir", str(tmp_path / "logs")]
    assert main(["fit", *QUICK, *folders]) == 0
    assert (tmp_path / "data" / FOLDER / "test_batch.bin").is_file()
    assert len(server.requests) == 1
    capsys.readouterr()

    run = str(tmp_path / "logs" / "adam24" / "version_0")
    assert main(["test", run, "--data_dir", str(tmp_path / "moved")]) == 2, "a moved data_dir is not filled again"
    assert str(tmp_path / "moved" / FOLDER) in capsys.readouterr().err
    assert len(server.requests) == 1


@NOT_OFFICIAL
def test_the_exercises_model_downloads_its_data(server: FaultServer, tmp_path: Path) -> None:
    model = CustomResNet(data_dir=tmp_path, network=ResNet9Config(width=4), num_val=10, batch_size=10)
    trainer = Trainer(max_epochs=1, logger=False, enable_checkpointing=False, enable_progress_bar=False)
    assert server.requests == [], "nothing is fetched before it is asked for"
    trainer.fit(model)
    trainer.test(model, verbose=False)
    assert len(model.data.test) == NUM_IMAGES
    assert len(server.requests) == 1


def test_a_malformed_folder_is_not_replaced(
    server: FaultServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / FOLDER).mkdir()
    for i in range(1, 6):
        (tmp_path / FOLDER / f"data_batch_{i}.bin").write_bytes(b"cut short")
    (tmp_path / FOLDER / "test_batch.bin").write_bytes(b"cut short")
    assert main(["fit", *QUICK, "--data_dir", str(tmp_path), "--logs_dir", str(tmp_path / "logs")]) == 2
    assert "ends inside a record" in capsys.readouterr().err
    assert server.requests == []


def test_the_embedded_data_need_no_download(server: FaultServer, tmp_path: Path) -> None:
    ImageData(Recipe(data="drawn"), tmp_path / "data").prepare_data()
    assert server.requests == []
    assert os.listdir(tmp_path) == []
