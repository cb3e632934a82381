"""The five-line use of the exercise, with our Trainer, with Lightning's own, with plain DataLoaders."""

from __future__ import annotations

from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

import firstlight
from firstlight.errors import UsageError
from firstlight.networks import ResNet9Config
from firstlight.recipes import get_recipe
from firstlight.recipes.config import Recipe

LOGGED_WHILE_FITTING = {
    "train_loss",
    "train_loss_step",
    "train_loss_epoch",
    "train_acc",
    "train_acc_step",
    "train_acc_epoch",
    "val_loss",
    "val_acc",
}


def tiny_model(tiny: str, **changes: object) -> firstlight.CustomResNet:
    values: dict[str, object] = {"num_val": 32, "batch_size": 64, "network": ResNet9Config(width=4)}
    return firstlight.CustomResNet(num_classes=4, data=tiny, **(values | changes))


def test_the_five_lines_train_test_and_show(tiny: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    model = tiny_model(tiny)
    trainer = firstlight.Trainer(max_epochs=2, enable_progress_bar=False, enable_model_summary=False)
    trainer.fit(model)
    assert set(trainer.callback_metrics) == LOGGED_WHILE_FITTING
    (tested,) = trainer.test(model, verbose=False)
    assert set(tested) == {"test_loss", "test_acc"}
    figure = model.show_misclassified_images(count=5)
    assert figure._repr_png_().startswith(b"\x89PNG")
    assert list(tmp_path.glob("logs/exercise/version_0/events.out.tfevents.*"))


def test_the_defaults_are_the_exercise_verbatim() -> None:
    assert Recipe() == get_recipe("adam24")
    assert firstlight.custom_ResNet is firstlight.CustomResNet


def test_forward_is_the_log_softmax_and_its_cross_entropy_is_that_of_the_logits() -> None:
    model = firstlight.CustomResNet(network=ResNet9Config(width=4)).eval()
    images, labels = torch.rand(8, 3, 32, 32), torch.arange(8)
    log_probabilities, logits = model(images), model.network(images)
    assert torch.allclose(log_probabilities.exp().sum(dim=1), torch.ones(8), atol=1e-6)
    assert torch.allclose(F.cross_entropy(log_probabilities, labels), F.cross_entropy(logits, labels), atol=1e-6)


def test_test_step_returns_the_predicted_classes(tiny: str) -> None:
    model = tiny_model(tiny).eval()
    model.log_dict = lambda *_, **__: None  # type: ignore[method-assign]  # there is no trainer to log to
    images = torch.rand(6, 3, 16, 16)
    predicted = model.test_step((images, torch.zeros(6, dtype=torch.int64)), 0)
    assert torch.equal(predicted, model.network(images).argmax(dim=1))


def test_lightnings_own_trainer_fits_it_with_ordinary_dataloaders(tmp_path: Path) -> None:
    model = firstlight.CustomResNet(num_classes=4, network=ResNet9Config(width=4))
    pairs = TensorDataset(torch.rand(24, 3, 16, 16), torch.arange(24) % 4)
    trainer = pl.Trainer(
        max_epochs=1, logger=False, enable_checkpointing=False, enable_progress_bar=False, default_root_dir=tmp_path
    )
    trainer.fit(model, DataLoader(pairs, batch_size=8), DataLoader(pairs, batch_size=8))
    trainer.test(model, DataLoader(pairs, batch_size=7), verbose=False)
    assert model.test_predictions is not None
    assert model.test_predictions.ids.tolist() == list(range(24))


def test_showing_before_testing_says_what_to_do(tiny: str) -> None:
    with pytest.raises(UsageError, match=r"trainer\.test"):
        tiny_model(tiny).show_misclassified_images()


def test_training_takes_the_normalization_from_its_own_images(
    tiny: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    model = tiny_model(tiny)
    firstlight.Trainer(max_epochs=1, logger=False, enable_checkpointing=False, enable_progress_bar=False).fit(model)
    pixels = model.data.train.images.double().div(255)
    assert torch.allclose(model.network.normalize.mean.flatten().double(), pixels.mean(dim=(0, 2, 3)), atol=1e-6)
    assert torch.allclose(
        model.network.normalize.std.flatten().double(), pixels.std(dim=(0, 2, 3), correction=0), atol=1e-6
    )
