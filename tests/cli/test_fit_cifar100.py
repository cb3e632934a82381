"""CIFAR-100 from an archive in `data_dir` to a finished run, with small archives of a hundred classes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from firstlight.cli import main
from firstlight.data.cifar_formats import CIFAR100_CLASSES, CIFAR100_SUPERCLASSES
from firstlight.data.download import downloader
from firstlight.runs.run import load
from reference.cifar100_files import archive_of, files_of

QUICK = [
    *("--num_val", "100", "--network.width", "2", "--max_epochs", "1", "--batch_size", "100"),
    *("--logger", "none", "--trainer.accelerator", "cpu"),
]
pytestmark = pytest.mark.filterwarnings("ignore:.*well formed, but not the official release.*")


@pytest.fixture(params=["binary", "python"])
def data_dir(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with one archive, which the manifest lists as the official one."""
    files = files_of(request.param, CIFAR100_CLASSES, CIFAR100_SUPERCLASSES, num_train=300, num_test=200)
    archive, content = archive_of(request.param, files, "https://nowhere.invalid/archive.tar.gz")
    monkeypatch.setattr(downloader, "MANIFEST", {"cifar100": (archive,), "cifar100-coarse": (archive,)})
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / archive.name).write_bytes(content)
    return tmp_path / "data"


def test_fit_test_explain_and_predict_with_a_hundred_classes(
    data_dir: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["fit", "--data", "cifar100", *QUICK]) == 0
    run = load("logs/adam24/version_0")
    assert run.class_names == CIFAR100_CLASSES
    assert tuple(run.network.head.weight.shape) == (100, 16)
    assert tuple(run.predictions.logits.shape) == (200, 100)
    assert yaml.safe_load((run.path / "recipe.yaml").read_text())["data"] == "cifar100"
    capsys.readouterr()

    assert main(["test", str(run.path)]) == 0
    assert f"test_acc {run.results['test_acc']:.4f}" in capsys.readouterr().out
    assert main(["explain", str(run.path), "--count", "3", "--true", "willow_tree"]) in (0, 2)
    capsys.readouterr()
    Image.fromarray(np.zeros((40, 50, 3), np.uint8)).save("black.png")
    assert main(["predict", "black.png", "--top", "100", "--format", "json"]) == 0
    (answer,) = json.loads(capsys.readouterr().out)
    assert sorted(each["label"] for each in answer["top"]) == sorted(CIFAR100_CLASSES)


def test_download_verifies_what_is_there_file_by_file(data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["download", "cifar100"]) == 0
    folder = next(each for each in data_dir.iterdir() if each.is_dir())
    assert capsys.readouterr().out == f"cifar100: {folder}\n"
    name = next(each.name for each in folder.iterdir() if each.name.startswith("test"))
    (folder / name).write_bytes(b"changed")
    assert main(["download", "cifar100-coarse"]) == 2
    assert f"{name} is not the official file" in capsys.readouterr().err


def test_superclasses_are_trained_on_by_name(data_dir: Path) -> None:
    assert main(["fit", "--data", "cifar100-coarse", *QUICK]) == 0
    assert load("logs/adam24/version_0").class_names == CIFAR100_SUPERCLASSES


@pytest.mark.parametrize("kind", ["samples", "classes"])
def test_show_draws_the_data(data_dir: Path, kind: str) -> None:
    assert main(["download", "cifar100"]) == 0
    assert main(["show", kind, "--data", "cifar100"]) == 0
    with Image.open(f"{kind}.png") as picture:
        assert max(picture.size) < 8000, "too large to be looked at"
