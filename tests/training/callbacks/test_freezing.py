"""Freezing: the same weights with fewer gradients, and all gradients restored afterwards."""

from __future__ import annotations

from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, TensorDataset

from firstlight.networks import SpeedNet, SpeedNetConfig
from firstlight.recipes.config import MuonConfig, Recipe
from firstlight.training.callbacks.freezing import Freezing
from firstlight.training.module import Classifier
from firstlight.training.trainer import SILENT, Trainer

RECIPE = Recipe(
    network=SpeedNetConfig(width=4),
    optimizer=MuonConfig(whitening_epochs=0.5, frozen_stages=2, freeze_at=0.5),
    max_epochs=2,
)


class Watch(pl.Callback):
    """Records which parameters got a gradient in each step."""

    def __init__(self, fails_at: int = -1) -> None:
        self.steps: list[set[str]] = []
        self.fails_at = fails_at

    def on_before_optimizer_step(self, trainer: pl.Trainer, pl_module: Any, optimizer: Any) -> None:
        self.steps.append({name for name, p in pl_module.network.named_parameters() if p.grad is not None})
        if len(self.steps) == self.fails_at:
            raise RuntimeError("in the middle")


def train(watch: Watch, **kwargs: Any) -> SpeedNet:
    """Train four steps; all parameters learn in the first two."""
    torch.manual_seed(0)
    network = SpeedNet(10, RECIPE.network)
    images = torch.rand(16, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    network.init_from_data((255 * images).byte())
    batches = DataLoader(TensorDataset(images, torch.arange(16) % 10), batch_size=8)
    trainer = Trainer(max_epochs=2, precision="32-true", limit_val_batches=0, callbacks=[watch], **SILENT, **kwargs)
    try:
        trainer.fit(Classifier(network, RECIPE), batches)
    except RuntimeError as error:
        assert "in the middle" in str(error)  # noqa: PT017
    return network


def test_parameters_with_a_rate_of_zero_get_no_gradient() -> None:
    watch = Watch()
    network = train(watch)
    learning = {name for name, p in network.named_parameters() if p.requires_grad}
    early = {name for name in learning if name.startswith("group1.")}
    assert len(early) == 4
    assert watch.steps == [learning, learning - {"whiten.conv.bias"}] + 2 * [learning - early - {"whiten.conv.bias"}]


def test_the_weights_are_those_of_a_training_with_all_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    frozen = train(Watch()).state_dict()
    monkeypatch.setattr(Freezing, "on_train_batch_start", lambda *args: None)
    watch = Watch()
    whole = train(watch).state_dict()
    assert len(set(map(frozenset, watch.steps))) == 1
    for name, value in whole.items():
        if name.startswith(
            "group1.conv"
        ):  # Muon would have normalized once more; only the direction matters before batch norm
            torch.testing.assert_close(frozen[name] / frozen[name].norm(), value / value.norm())
        elif not name.startswith("group1.norm") or "running" not in name:
            torch.testing.assert_close(frozen[name], value, rtol=1e-4, atol=1e-5, msg=name)


def test_early_stages_stop_learning_and_later_ones_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[dict[str, torch.Tensor]] = []

    class Keep(Watch):
        def on_train_batch_end(self, trainer: Any, pl_module: Any, *args: Any) -> None:
            seen.append({name: p.detach().clone() for name, p in pl_module.network.named_parameters()})

    train(Keep())
    torch.testing.assert_close(seen[1]["group1.conv1.weight"], seen[3]["group1.conv1.weight"])
    assert not torch.equal(seen[0]["group1.conv1.weight"], seen[1]["group1.conv1.weight"])
    assert not torch.equal(seen[2]["group2.conv1.weight"], seen[3]["group2.conv1.weight"])


@pytest.mark.parametrize("fails_at", [-1, 4])
def test_all_parameters_require_gradients_after_the_training(fails_at: int) -> None:
    network = train(Watch(fails_at))
    learning = {name for name, p in network.named_parameters() if p.requires_grad}
    fresh = SpeedNet(10, RECIPE.network)
    assert learning == {name for name, p in fresh.named_parameters() if p.requires_grad}
