"""`metrics.csv`: values against an independent count, complete after every epoch, and continued by a resume."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from firstlight.networks import ResNet9, ResNet9Config
from firstlight.recipes.config import OptimizerConfig, Recipe
from firstlight.training.callbacks.metrics_csv import COLUMNS, MetricsTable
from firstlight.training.module import Classifier
from reference.tiny import tiny_split

NUM_EPOCHS = 4


class SecondCount(pl.Callback):
    """Computes losses and accuracies independently, and reads the file after every epoch."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.expected: list[dict[str, float | None]] = []
        self.read: list[list[dict[str, str]]] = []
        self.sums = torch.zeros(3, dtype=torch.float64)
        self.val: dict[str, float | None] = {}

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.sums.zero_()
        self.val = {"val_loss": None, "val_acc": None}

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Repeat the forward pass before the update, with a copy of the running statistics."""
        images, labels = batch
        saved = {name: buffer.clone() for name, buffer in pl_module.network.named_buffers()}
        with torch.no_grad():
            logits = pl_module.network(images)
            for name, buffer in pl_module.network.named_buffers():
                buffer.copy_(saved[name])
        right = (logits.argmax(dim=1) == labels).sum()
        self.sums += torch.stack([F.cross_entropy(logits, labels, reduction="sum"), right, torch.tensor(len(labels))])

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        images, labels = trainer.val_dataloaders.dataset.tensors
        with torch.no_grad():
            logits = pl_module.network(images)
        self.val = {
            "val_loss": float(F.cross_entropy(logits, labels)),
            "val_acc": float((logits.argmax(dim=1) == labels).float().mean()),
        }

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        loss, right, count = self.sums.tolist()
        self.expected.append({"train_loss": loss / count, "train_acc": right / count} | self.val)
        with self.path.open(newline="") as stream:
            self.read.append(list(csv.DictReader(stream)))


def loader(split: str, count: int) -> DataLoader:
    images = tiny_split(split)[:count]
    return DataLoader(TensorDataset(images.images / 255, images.labels), batch_size=16)


def train(folder: Path, num_epochs: int, **options: Any) -> tuple[pl.Trainer, SecondCount]:
    torch.manual_seed(0)
    recipe = Recipe(max_epochs=num_epochs, optimizer=OptimizerConfig(learning_rate=0.01))
    module = Classifier(ResNet9(4, ResNet9Config(width=2)), recipe)
    second = SecondCount(folder / "metrics.csv")
    trainer = pl.Trainer(
        max_epochs=num_epochs,
        callbacks=[MetricsTable(folder / "metrics.csv"), second],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        accelerator="cpu",
        check_val_every_n_epoch=2,
        default_root_dir=folder,
    )
    trainer.fit(module, loader("train", 40), loader("test", 20), **options)
    return trainer, second


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, SecondCount]:
    folder = tmp_path_factory.mktemp("run")
    trainer, second = train(folder, NUM_EPOCHS)
    trainer.save_checkpoint(folder / "all.ckpt")
    return folder, second


def test_after_every_epoch_the_file_has_a_row_for_each_epoch_so_far(trained: tuple[Path, SecondCount]) -> None:
    folder, second = trained
    assert [[int(row["epoch"]) for row in rows] for rows in second.read] == [[0], [0, 1], [0, 1, 2], [0, 1, 2, 3]]
    assert all(tuple(row) == COLUMNS for rows in second.read for row in rows)
    assert all(float(row["learning_rate"]) == 0.01 and float(row["seconds"]) > 0 for row in second.read[-1])
    assert sorted(path.name for path in folder.iterdir()) == ["all.ckpt", "metrics.csv"]


def test_the_metrics_equal_an_independent_count(trained: tuple[Path, SecondCount]) -> None:
    """The last batch of the epoch is smaller, so means over images differ from means over batches."""
    _, second = trained
    for row, expected in zip(second.read[-1], second.expected, strict=True):
        for name, value in expected.items():
            if value is not None:
                assert float(row[name]) == pytest.approx(value, rel=1e-4), name


def test_an_epoch_without_validation_has_no_validation_metrics(trained: tuple[Path, SecondCount]) -> None:
    """The values of an earlier epoch must not appear either."""
    _, second = trained
    assert [row["val_acc"] != "" for row in second.read[-1]] == [False, True, False, True]
    assert [row["val_loss"] != "" for row in second.read[-1]] == [False, True, False, True]


def test_a_resumed_run_appends_to_the_earlier_rows(trained: tuple[Path, SecondCount], tmp_path: Path) -> None:
    folder, second = trained
    train(tmp_path, NUM_EPOCHS + 1, ckpt_path=folder / "all.ckpt")
    with (tmp_path / "metrics.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert rows[:NUM_EPOCHS] == second.read[-1]
    assert [row["epoch"] for row in rows] == ["0", "1", "2", "3", "4"]
