"""Histograms of weights and gradients, against the tensors that a second callback copied."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import CSVLogger, TensorBoardLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from firstlight.networks import ResNet9, ResNet9Config
from firstlight.training.callbacks.histograms import Histograms
from firstlight.training.module import Classifier
from reference.tiny import tiny_split

NUM_EPOCHS = 2


class Watch(pl.Callback):
    """Copies every weight and gradient before each update."""

    def __init__(self) -> None:
        self.seen: list[dict[str, Tensor]] = []

    def on_before_optimizer_step(self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Any) -> None:
        weights = {f"weights/{name}": each.detach().clone() for name, each in pl_module.named_parameters()}
        gradients = {f"gradients/{name}": each.grad.clone() for name, each in pl_module.named_parameters()}
        self.seen.append(weights | gradients)


def train(logger: Any, **options: Any) -> Watch:
    images = tiny_split("test")[:20]
    loader = DataLoader(TensorDataset(images.images / 255, images.labels), batch_size=8)
    watch = Watch()
    trainer = pl.Trainer(
        max_epochs=NUM_EPOCHS,
        logger=logger,
        callbacks=[Histograms(), watch],
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        accelerator="cpu",
        log_every_n_steps=1,
        **options,
    )
    torch.manual_seed(0)
    trainer.fit(Classifier(ResNet9(4, ResNet9Config(width=2))), loader)
    return watch


@pytest.mark.parametrize("accumulated", [1, 2])
def test_every_epoch_has_a_histogram_of_each_weight_and_gradient_before_its_last_update(
    tmp_path: Path, accumulated: int
) -> None:
    watch = train(TensorBoardLogger(tmp_path, name=""), accumulate_grad_batches=accumulated)
    num_updates = len(watch.seen) // NUM_EPOCHS
    last_of_epochs = [watch.seen[num_updates * (epoch + 1) - 1] for epoch in range(NUM_EPOCHS)]
    events = EventAccumulator(str(tmp_path / "version_0"), size_guidance={"histograms": 0}).Reload()
    assert set(events.Tags()["histograms"]) == set(watch.seen[0])
    for name in watch.seen[0]:
        found = events.Histograms(name)
        assert [each.step for each in found] == list(range(NUM_EPOCHS))
        for each, tensors in zip(found, last_of_epochs, strict=True):
            values = tensors[name].double()
            drawn = each.histogram_value
            assert drawn.num == values.numel()
            assert (drawn.min, drawn.max, drawn.sum) == pytest.approx(
                (float(values.min()), float(values.max()), float(values.sum())), rel=1e-4, abs=1e-6
            )


def test_other_loggers_are_left_alone(tmp_path: Path) -> None:
    assert len(train(CSVLogger(tmp_path, name="")).seen) == 3 * NUM_EPOCHS
    assert not list(tmp_path.rglob("events.out.tfevents.*"))
