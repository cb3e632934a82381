"""Batches of a user's own loader: what is wrong with them is named in one line."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

import firstlight
from firstlight.errors import UsageError
from firstlight.networks import ResNet9, ResNet9Config
from firstlight.training.checked_batch import images_and_labels
from firstlight.training.trainer import SILENT
from reference.unchecked import without_type_checks

IMAGES = torch.rand(8, 3, 16, 16)
LABELS = torch.arange(8) % 4
NETWORK = ResNet9(4, ResNet9Config(width=2))


def loader_of(images: torch.Tensor, labels: torch.Tensor) -> DataLoader[Any]:
    return DataLoader(TensorDataset(images, labels), batch_size=8)


@pytest.mark.parametrize(
    ("batch", "expected"),
    [
        ({"image": IMAGES, "label": LABELS}, "not a dictionary with image, label: return a pair"),
        (IMAGES, "this one has no labels"),
        ([IMAGES], "this one has no labels"),
        ((IMAGES.tolist(), LABELS), "not list and Tensor"),
        ((IMAGES, torch.eye(4)[LABELS]), r"labels are float32 \[8, 4\].*labels.argmax\(dim=1\)"),
        ((IMAGES, LABELS.float()), r"labels are float32 \[8\]"),
        ((IMAGES, LABELS[:3]), "a batch has 8 images and 3 labels"),
    ],
)
def test_a_wrong_batch_is_named(batch: Any, expected: str) -> None:
    with pytest.raises(UsageError, match=expected):
        images_and_labels(batch, NETWORK)


def test_integer_labels_of_any_size_are_accepted() -> None:
    for dtype in (torch.uint8, torch.int32, torch.int64):
        _, labels = images_and_labels([IMAGES, LABELS.to(dtype)], NETWORK)
        assert labels.dtype == torch.int64
        assert labels.equal(LABELS)


@pytest.mark.parametrize(
    ("images", "labels", "expected"),
    [
        (
            IMAGES,
            LABELS + 1,
            "labels go from 1 to 4, but the network has 4 classes, 0 to 3: build it with num_classes=5",
        ),
        (IMAGES, LABELS - 1, "labels go from -1 to 2.*begin your labels at 0"),
        (IMAGES.permute(0, 2, 3, 1), LABELS, r"images of shape \[8, 16, 16, 3\].*images.permute\(0, 3, 1, 2\)"),
    ],
)
def test_the_trainer_stops_at_the_first_wrong_batch(images: torch.Tensor, labels: torch.Tensor, expected: str) -> None:
    model = firstlight.CustomResNet(num_classes=4, network={"width": 2})
    for method in ("fit", "validate", "test"):
        trainer = firstlight.Trainer(
            max_epochs=1, precision="32-true", limit_val_batches=1 if method != "fit" else 0, **SILENT
        )
        with without_type_checks(), pytest.raises(UsageError, match=expected):
            getattr(trainer, method)(model, loader_of(images, labels))


def test_images_of_another_float_dtype_train() -> None:
    model = firstlight.CustomResNet(num_classes=4, network={"width": 2})
    for dtype in (torch.float64, torch.float16):
        trainer = firstlight.Trainer(max_epochs=1, precision="32-true", limit_val_batches=0, **SILENT)
        trainer.fit(model, loader_of(IMAGES.to(dtype), LABELS))
        assert trainer.global_step == 1
