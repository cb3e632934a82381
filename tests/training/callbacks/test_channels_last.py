"""The memory format of filters before, during and after a training, and operations that need contiguous filters."""

from __future__ import annotations

from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelPruning
from safetensors.torch import load_file, save_file
from torch.nn.utils import prune

import firstlight
from firstlight.networks.resnet9 import ResNet9Config


class Observer(pl.Callback):
    """Records the strides of a filter during training."""

    stride: tuple[int, ...] = ()

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: object) -> None:
        self.stride = pl_module.network.layer1[0].weight.stride()


def model(tiny: str) -> firstlight.CustomResNet:
    config = ResNet9Config(width=2)
    return firstlight.CustomResNet(num_classes=4, data=tiny, num_val=20, batch_size=32, network=config)


def trainer(folder: Path, *callbacks: pl.Callback) -> firstlight.Trainer:
    off = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    limits = {"max_epochs": 1, "limit_train_batches": 2, "limit_val_batches": 1}
    return firstlight.Trainer(default_root_dir=folder, callbacks=[*callbacks], **off, **limits)


def are_contiguous(network: torch.nn.Module) -> bool:
    return all(each.is_contiguous() for each in network.parameters())


def test_filters_are_channels_last_only_in_training(tiny: str, tmp_path: Path) -> None:
    trained, observer = model(tiny), Observer()
    assert are_contiguous(trained)
    trainer(tmp_path, observer).fit(trained)
    assert observer.stride[1] == 1
    assert are_contiguous(trained)


def test_filters_are_contiguous_again_after_a_failed_training(tiny: str, tmp_path: Path) -> None:
    class Failing(pl.Callback):
        def on_train_batch_end(self, *_: object) -> None:
            raise ZeroDivisionError

    trained = model(tiny)
    with pytest.raises(ZeroDivisionError):
        trainer(tmp_path, Failing()).fit(trained)
    assert are_contiguous(trained)


def test_pruning_works_before_and_in_a_training(tiny: str, tmp_path: Path) -> None:
    prune.l1_unstructured(model(tiny).network.prep.conv, "weight", 0.3)
    trained = model(tiny)
    trainer(tmp_path, ModelPruning("l1_unstructured", amount=0.3)).fit(trained)
    weights = torch.cat(
        [each.flatten() for name, each in trained.network.named_parameters() if name.endswith("weight")]
    )
    assert (weights == 0).float().mean() > 0.2


def test_safetensors_saves_the_state(tiny: str, tmp_path: Path) -> None:
    trained = model(tiny)
    save_file(trained.state_dict(), tmp_path / "weights.safetensors")
    loaded = load_file(tmp_path / "weights.safetensors")
    assert torch.equal(loaded["network.prep.conv.weight"], trained.network.prep.conv.weight)
