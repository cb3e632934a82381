"""The five-line use of the exercise, with our Trainer, with Lightning's own, with plain DataLoaders."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

import firstlight
from firstlight.data.batches import Batch
from firstlight.data.images import ImageSet
from firstlight.errors import RunError, TrainingError, UsageError
from firstlight.networks import ResNet9Config, SpeedNetConfig
from firstlight.recipes import get_recipe
from firstlight.recipes.config import MuonConfig, OptimizerConfig, Recipe
from firstlight.training.data_module import ImageData
from firstlight.training.module import Classifier

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


def test_showing_mistakes_before_a_test_is_an_error_that_says_what_to_do(tiny: str) -> None:
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


SPEEDY = SpeedNetConfig(width=4)
SILENT: dict[str, object] = {
    "logger": False,
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
}


@pytest.mark.parametrize("network", [ResNet9Config(width=4), SPEEDY], ids=["resnet9", "speednet"])
def test_the_five_lines_and_fit_train_the_same_weights(
    tiny: str, tmp_path: Path, network: ResNet9Config | SpeedNetConfig
) -> None:
    """The same initialization, from the seed and from the training images, and the same steps."""
    optimizer = MuonConfig(learning_rate=0.03, head_rate=8.0, bias_rate=0.6, weight_decay=0.001)
    recipe = Recipe(data=tiny, num_val=32, batch_size=64, network=network, optimizer=optimizer, max_epochs=2, seed=3)
    run = firstlight.fit(recipe, logs_dir=tmp_path, logger="none", precision="32-true", enable_progress_bar=False)
    model = firstlight.CustomResNet(
        num_classes=4, data=tiny, num_val=32, batch_size=64, network=network, optimizer=optimizer, max_epochs=2, seed=3
    )
    trainer = firstlight.Trainer(precision="32-true", **SILENT)
    trainer.fit(model)
    assert trainer.current_epoch == 2, "the epochs are those of the model's recipe"
    for name, expected in run.network.state_dict().items():
        assert torch.equal(model.network.state_dict()[name], expected), name


def test_a_time_limit_keeps_the_recipes_epochs(tiny: str) -> None:
    trainer = firstlight.Trainer(max_time="00:01:00:00", **SILENT)
    trainer.fit(tiny_model(tiny, max_epochs=1))
    assert trainer.max_epochs == trainer.current_epoch == 1


def test_a_network_that_names_no_stages_is_trained_and_tested(tiny: str) -> None:
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4))
    recipe = Recipe(data=tiny, num_val=32, batch_size=64)
    module, data = Classifier(network, recipe), ImageData(recipe)
    trainer = firstlight.Trainer(max_epochs=1, **SILENT)
    trainer.fit(module, datamodule=data)
    (tested,) = trainer.test(module, datamodule=data, verbose=False)
    assert module.test_predictions is not None
    assert module.test_predictions.features.shape == (len(data.test), 0)
    assert tested["test_acc"] == pytest.approx(module.test_predictions.accuracy)


def test_loaded_weights_are_not_initialized_again(tiny: str) -> None:
    model = tiny_model(tiny, network=SPEEDY)
    state = {name: value + 1 for name, value in model.state_dict().items()}
    model.load_state_dict(state)
    firstlight.Trainer(max_epochs=1, limit_train_batches=1, **SILENT).fit(model)
    assert torch.equal(model.state_dict()["network.whiten.conv.weight"], state["network.whiten.conv.weight"])


def test_a_loss_that_is_not_finite_ends_the_training(tiny: str) -> None:
    model = tiny_model(tiny, optimizer=OptimizerConfig(name="sgd", learning_rate=1e18))
    with pytest.raises(TrainingError, match="no longer"):
        firstlight.Trainer(max_epochs=4, **SILENT).fit(model)


def test_overfitting_trains_on_the_same_images_in_every_epoch(tiny: str) -> None:
    seen: list[list[int]] = []

    class Ids(pl.Callback):
        def on_train_batch_start(self, trainer: object, module: object, batch: Batch, index: int) -> None:
            seen.append(batch.ids.tolist())

    trainer = firstlight.Trainer(max_epochs=2, overfit_batches=2, callbacks=[Ids()], **SILENT)
    with pytest.warns(UserWarning, match="turning off the train dataloader shuffling"):
        trainer.fit(tiny_model(tiny, hardest_share=0.5))
    assert seen[:2] == seen[2:]
    assert seen[0] != seen[1]


def test_a_number_of_steps_beyond_the_epochs_is_reported(tiny: str, caplog: pytest.LogCaptureFixture) -> None:
    trainer = firstlight.Trainer(max_steps=1000, **SILENT)
    with caplog.at_level("INFO", "firstlight"):
        trainer.fit(tiny_model(tiny, max_epochs=1))
    assert trainer.global_step == 3
    assert "max_epochs=1 ends the training after 3 steps, before max_steps=1000: set max_epochs=-1" in caplog.text


def test_callbacks_of_the_recipe_are_added_once(tiny: str, caplog: pytest.LogCaptureFixture) -> None:
    """Lightning logs a line when the callbacks of a module replace others."""
    model = tiny_model(tiny, optimizer=MuonConfig(), max_epochs=1)
    trainer = firstlight.Trainer(limit_train_batches=1, **SILENT)
    trainer.fit(model)
    trainer.test(model, verbose=False)
    assert "will override existing callbacks" not in caplog.text


@pytest.mark.parametrize("precision", ["16-true", "bf16-true", "64-true"])
def test_true_precisions_train_and_test(tiny: str, precision: str) -> None:
    model = tiny_model(tiny, max_epochs=1)
    trainer = firstlight.Trainer(limit_train_batches=1, precision=precision, **SILENT)
    trainer.fit(model)
    (tested,) = trainer.test(model, verbose=False)
    assert 0 <= tested["test_acc"] <= 1


def test_a_checkpoint_contains_the_models_configuration(tiny: str, tmp_path: Path) -> None:
    model = tiny_model(tiny, label_smoothing=0.2, optimizer=OptimizerConfig(learning_rate=0.01))
    trainer = firstlight.Trainer(max_epochs=1, limit_train_batches=1, **SILENT)
    trainer.fit(model)
    trainer.save_checkpoint(tmp_path / "model.ckpt")
    loaded = firstlight.CustomResNet.load_from_checkpoint(tmp_path / "model.ckpt")
    assert loaded.recipe == model.recipe
    assert all(torch.equal(value, loaded.state_dict()[name]) for name, value in model.state_dict().items())


def test_a_file_that_is_no_checkpoint_is_named(tmp_path: Path) -> None:
    (tmp_path / "text.ckpt").write_text("hello")
    torch.save({"weight": torch.zeros(1)}, tmp_path / "weights.ckpt")
    for name in ("missing.ckpt", "text.ckpt", "weights.ckpt", ""):
        with pytest.raises(RunError, match=r"is no checkpoint of CustomResNet .*firstlight\.load opens a run folder"):
            firstlight.CustomResNet.load_from_checkpoint(tmp_path / name)


def test_predict_takes_every_kind_of_loader(tiny: str) -> None:
    model = tiny_model(tiny)
    trainer = firstlight.Trainer(max_epochs=1, **SILENT)
    images = torch.rand(8, 3, 32, 32)
    pairs = DataLoader(TensorDataset(images, torch.zeros(8, dtype=torch.int64)), batch_size=4)
    expected = model.eval().network(images).float().softmax(dim=1)
    found = torch.cat(trainer.predict(model, pairs))
    torch.testing.assert_close(found, expected, rtol=0.05, atol=0.02)
    assert torch.cat(trainer.predict(model)).shape == (len(model.data.test), 4)


def test_several_test_loaders_have_metrics_of_their_own(tiny: str) -> None:
    model = tiny_model(tiny)
    images = torch.rand(8, 3, 32, 32)
    predicted = model.eval().network(images).argmax(dim=1)
    right, wrong = (DataLoader(TensorDataset(images, labels)) for labels in (predicted, (predicted + 1) % 4))
    trainer = firstlight.Trainer(precision="32-true", **SILENT)
    trainer.test(model, {"clean": right, "corrupted": wrong}, verbose=False)
    assert trainer.callback_metrics["test_acc/clean"] == 1
    assert trainer.callback_metrics["test_acc/corrupted"] == 0
    trainer.test(model, [right, wrong], verbose=False)
    assert trainer.callback_metrics["test_acc/dataloader_idx_1"] == 0


def test_mistakes_on_the_users_own_loader_are_an_error_that_says_why(tiny: str) -> None:
    model = tiny_model(tiny)
    with pytest.raises(UsageError, match="nothing has been tested yet"):
        model.show_misclassified_images()
    pairs = DataLoader(TensorDataset(torch.rand(8, 3, 32, 32), torch.zeros(8, dtype=torch.int64)))
    firstlight.Trainer(**SILENT).test(model, pairs, verbose=False)
    with pytest.raises(UsageError, match="ran on your own loader"):
        model.show_misclassified_images()


def test_copies_contain_neither_trainer_nor_images(tiny: str) -> None:
    model = tiny_model(tiny)
    firstlight.Trainer(max_epochs=1, **SILENT).fit(model)
    copied = pickle.loads(pickle.dumps(model))
    assert model.data.trainer is None
    assert not hasattr(copied.data, "train")
    firstlight.Trainer(max_epochs=1, limit_train_batches=1, **SILENT).fit(copied)  # loads them again


def test_a_checkpoint_within_an_epoch_repeats_and_skips_no_image(tiny: str, tmp_path: Path) -> None:
    def ids_seen(max_steps: int, ckpt_path: str | None = None) -> list[int]:
        seen: list[int] = []

        class Ids(pl.Callback):
            def on_train_batch_start(self, trainer: object, module: object, batch: Batch, index: int) -> None:
                seen.extend(batch.ids.tolist())

        keep = ModelCheckpoint(dirpath=tmp_path, save_last=True, every_n_train_steps=2, save_top_k=0)
        options = SILENT | {"enable_checkpointing": True, "callbacks": [Ids(), keep]}
        trainer = firstlight.Trainer(max_epochs=1, max_steps=max_steps, **options)
        trainer.fit(tiny_model(tiny, batch_size=16), ckpt_path=ckpt_path)
        return seen

    first = ids_seen(4)
    rest = ids_seen(-1, ckpt_path="last")
    assert len(first) == 64
    assert len(set(first + rest)) == len(first + rest) > 100


def test_the_learning_rate_that_lightning_finds_is_used(tiny: str) -> None:
    model = tiny_model(tiny)
    model.learning_rate, model.batch_size = 0.05, 32
    trainer = firstlight.Trainer(max_epochs=1, limit_train_batches=1, **SILENT)
    trainer.fit(model)
    assert trainer.optimizers[0].param_groups[0]["lr"] == 0.05
    assert model.hparams["optimizer"]["learning_rate"] == model.hparams_initial["optimizer"]["learning_rate"] == 0.05
    assert model.hparams["batch_size"] == model.data.recipe.batch_size == 32
    assert model.data.recipe.optimizer.learning_rate == 0.05
    assert model.data.train_dataloader().sampler.batch_size == 32


def test_a_constant_channel_trains() -> None:
    images = torch.randint(0, 256, (40, 3, 16, 16), dtype=torch.uint8)
    images[:, 1] = 0
    found = ImageSet(images, torch.arange(40) % 2, ("a", "b"), name="red").mean_and_std
    assert found[0][1] == 0
    assert found[1][1] == pytest.approx(1 / 255)


@pytest.mark.parametrize(
    ("scale", "shift", "advice"), [(255, 0, "divide them by 255"), (4, -2, "your own normalization")]
)
def test_training_warns_once_about_images_in_another_range(tiny: str, scale: int, shift: int, advice: str) -> None:
    pairs = TensorDataset(torch.rand(16, 3, 16, 16) * scale + shift, torch.arange(16) % 4)
    loader = DataLoader(pairs, batch_size=4)
    with pytest.warns(UserWarning, match=advice) as found:
        firstlight.Trainer(max_epochs=2, num_sanity_val_steps=0, **SILENT).fit(tiny_model(tiny), loader, loader)
    assert sum(advice in str(each.message) for each in found) == 1


def test_training_refuses_integer_images(tiny: str) -> None:
    pixels = torch.randint(0, 256, (16, 3, 16, 16), dtype=torch.uint8)
    loader = DataLoader(TensorDataset(pixels, torch.arange(16) % 4), batch_size=4)
    with pytest.raises(UsageError, match="images / 255"):
        firstlight.Trainer(max_epochs=1, precision="32-true", **SILENT).fit(tiny_model(tiny), loader)
