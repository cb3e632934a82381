"""The sheet of misclassified images in TensorBoard, read back from its event file."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from PIL import Image
from pytorch_lightning.demos.boring_classes import BoringModel
from pytorch_lightning.loggers import CSVLogger, Logger, TensorBoardLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.utils.data import DataLoader, TensorDataset

from firstlight.networks import ResNet9Config
from firstlight.training.callbacks.misclassified import MisclassifiedImages
from firstlight.training.exercise import CustomResNet
from reference.tiny import tiny_split


def put_to_test(logger: Logger, module: pl.LightningModule, loader: DataLoader | None = None) -> None:
    trainer = pl.Trainer(
        logger=logger,
        callbacks=[MisclassifiedImages()],
        limit_test_batches=1,
        enable_progress_bar=False,
        enable_model_summary=False,
        accelerator="cpu",
    )
    trainer.test(module, loader, verbose=False)


def images_in(folder: Path) -> EventAccumulator:
    events = EventAccumulator(str(folder), size_guidance={"images": 0})
    events.Reload()
    return events


@pytest.fixture
def model(tiny: str) -> CustomResNet:
    """Tested on its first three images only."""
    torch.manual_seed(0)
    return CustomResNet(num_classes=4, data=tiny, num_val=32, batch_size=3, network=ResNet9Config(width=2))


def test_the_sheet_in_tensorboard_is_the_one_that_the_module_shows(model: CustomResNet, tmp_path: Path) -> None:
    put_to_test(TensorBoardLogger(tmp_path, name=""), model)
    assert len(model.test_predictions) == 3
    assert len(model.test_predictions.misclassified()) > 0, "nothing to show"
    events = images_in(tmp_path / "version_0")
    assert events.Tags()["images"] == ["misclassified"]
    (logged,) = events.Images("misclassified")
    canvas = model.draw_misclassified_images().canvas
    canvas.draw()
    with Image.open(io.BytesIO(logged.encoded_image_string)) as image:
        np.testing.assert_array_equal(np.asarray(image.convert("RGB")), np.asarray(canvas.buffer_rgba())[:, :, :3])


def test_a_module_without_its_test_images_is_tested(model: CustomResNet, tmp_path: Path) -> None:
    images = tiny_split("test")[:8]
    pairs = DataLoader(TensorDataset(images.images / 255, images.labels), batch_size=8)
    put_to_test(TensorBoardLogger(tmp_path, name=""), model, pairs)
    assert len(model.test_predictions) == 8
    assert images_in(tmp_path / "version_0").Tags()["images"] == []


def test_a_module_of_another_class_is_ignored(tmp_path: Path) -> None:
    put_to_test(TensorBoardLogger(tmp_path, name=""), BoringModel())
    assert images_in(tmp_path / "version_0").Tags()["images"] == []


def test_without_tensorboard_nothing_is_drawn(
    model: CustomResNet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: CustomResNet) -> None:
        raise AssertionError("drawn for nobody")

    monkeypatch.setattr(CustomResNet, "draw_misclassified_images", fail)
    put_to_test(CSVLogger(tmp_path, name=""), model)
    assert model.test_predictions is not None
