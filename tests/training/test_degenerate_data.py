"""Trainings on degenerate data have no NaN and print one line; a full disk is an error at the start."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch

import firstlight
from firstlight.data.images import ImageSet
from firstlight.data.source import SOURCES
from firstlight.errors import WriteError
from firstlight.recipes.config import Recipe
from firstlight.training.trainer import SILENT


def constant_channel(images: torch.Tensor, labels: torch.Tensor) -> None:
    images[:, 1:] = 0


def constant_images(images: torch.Tensor, labels: torch.Tensor) -> None:
    images[:] = images[:, :, :1, :1]


def one_colour(images: torch.Tensor, labels: torch.Tensor) -> None:
    images[:] = 9


def one_class(images: torch.Tensor, labels: torch.Tensor) -> None:
    labels[:] = 1


@pytest.mark.parametrize(
    ("degrade", "expected"),
    [
        (constant_channel, "the green and blue channels"),
        (constant_images, None),
        (one_colour, "all pixels of train have the same colour"),
        (one_class, "all training images are of the class 'b'"),
    ],
)
@pytest.mark.parametrize("network", ["resnet9", "speednet"])
def test_degenerate_data_train_without_nan(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, degrade: Any, expected: str | None, network: str
) -> None:
    images, labels = torch.randint(0, 256, (48, 3, 16, 16), dtype=torch.uint8), torch.arange(48) % 2
    degrade(images, labels)
    found = {split: ImageSet(images, labels, ("a", "b"), name=split) for split in ("train", "test")}
    monkeypatch.setitem(SOURCES, "degenerate", lambda data_dir, split: found[split])
    model = firstlight.CustomResNet(
        data="degenerate", num_classes=2, num_val=8, batch_size=16, network={"name": network, "width": 4}
    )
    trainer = firstlight.Trainer(max_epochs=2, **SILENT)
    with caplog.at_level(logging.INFO, "firstlight"):
        trainer.fit(model)
    (tested,) = trainer.test(model, verbose=False)
    assert all(torch.tensor(value).isfinite() for value in tested.values())
    assert all(value.isfinite().all() for value in model.network.state_dict().values())
    assert expected is None or sum(expected in record.message for record in caplog.records) == 1


class Usage(NamedTuple):
    total: int
    used: int
    free: int


def test_a_full_disk_is_reported_before_the_training(
    tiny: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(2**30, 2**30 - 2**20, 2**20))
    with pytest.raises(WriteError, match=r"1\.0 MB free.*at least 175\.\d MB"):
        firstlight.fit(Recipe(data=tiny, num_val=32), logs_dir=tmp_path / "logs", logger="none")
    assert not (tmp_path / "logs").exists()


def test_the_five_lines_report_a_full_disk_and_create_no_run(
    tiny: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(2**30, 2**30 - 2**20, 2**20))
    model = firstlight.CustomResNet(data=tiny, num_classes=4, num_val=32)
    trainer = firstlight.Trainer(default_root_dir=tmp_path, enable_progress_bar=False, enable_checkpointing=False)
    with pytest.raises(WriteError, match=r"1\.0 MB free.*at least 175\.\d MB"):
        trainer.fit(model)
    assert not list(tmp_path.rglob("recipe.yaml"))


def test_a_file_in_the_place_of_the_folder_of_runs_is_named(tiny: str, tmp_path: Path) -> None:
    (tmp_path / "logs").touch()
    model = firstlight.CustomResNet(data=tiny, num_classes=4, num_val=32)
    trainer = firstlight.Trainer(default_root_dir=tmp_path, enable_progress_bar=False, enable_checkpointing=False)
    with pytest.raises(WriteError, match=f"{tmp_path / 'logs'} is a file"):
        trainer.fit(model)
    assert trainer.global_step == 0
