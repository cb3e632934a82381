"""The run folder of the five lines: it opens like one of `fit`, and is not written without a logger."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch
from PIL import Image
from pytorch_lightning.demos.boring_classes import BoringModel
from pytorch_lightning.loggers import CSVLogger, TensorBoardLogger
from torch.nn.utils import prune
from torch.utils.data import DataLoader, TensorDataset

import firstlight
from firstlight.data.images import ImageSet
from firstlight.errors import RunError
from firstlight.evaluation.predictions import Predictions
from firstlight.networks import ResNet9Config, StagedNetwork
from firstlight.plots.figure import Figure
from firstlight.recipes.config import Recipe
from firstlight.runs.options import FitOptions
from firstlight.runs.run import Run, latest_run
from firstlight.training import show_sheet
from firstlight.training.retest import retest
from reference.tiny import CLASS_NAMES, tiny_split

QUIET: dict[str, object] = {"enable_progress_bar": False, "enable_model_summary": False, "enable_checkpointing": False}
RUN_FILES = {
    "recipe.yaml",
    "environment.json",
    "metrics.csv",
    "model.safetensors",
    "predictions.npz",
    "results.json",
    "samples.png",
    "curves.png",
    "misclassified.png",
    "confusion.csv",
    "confusion.png",
    "reliability.png",
}


def tiny_model(tiny: str, **changes: object) -> firstlight.CustomResNet:
    values: dict[str, object] = {"num_val": 32, "batch_size": 64, "network": ResNet9Config(width=2)}
    return firstlight.CustomResNet(num_classes=4, data=tiny, **(values | changes))


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_the_five_lines_leave_a_finished_run(tiny: str) -> None:
    model = tiny_model(tiny, seed=5)
    trainer = firstlight.Trainer(max_epochs=2, **QUIET)
    trainer.fit(model)
    (tested,) = trainer.test(model, verbose=False)
    run = firstlight.load("logs/exercise/version_0")
    assert names_in(run.path) >= RUN_FILES
    assert not [name for name in names_in(run.path) if name.startswith(".")], "temporary files were left behind"
    assert run.is_finished
    assert latest_run("logs").path == run.path
    assert run.recipe == Recipe(
        data=tiny, num_val=32, batch_size=64, network=ResNet9Config(width=2), max_epochs=2, seed=5
    )
    assert run.class_names == CLASS_NAMES
    assert run.environment["data"]["digests"]["test"] == tiny_split("test").digest()
    state = run.network.state_dict()
    assert all(torch.equal(value.cpu(), state[name]) for name, value in model.network.state_dict().items())
    assert torch.equal(run.predictions.logits, model.test_predictions.logits)
    assert run.results["test_acc"] == pytest.approx(tested["test_acc"])
    assert run.results["total_s"] > run.results["train_s"] > 0
    assert {"val_acc", "val_loss", "train_loss_epoch"} <= set(run.results)
    assert retest(run, enable_progress_bar=False, accelerator="cpu")["test_acc"] == pytest.approx(
        run.results["test_acc"]
    )
    for name in ("samples.png", "curves.png", "misclassified.png"):
        with Image.open(run.path / name) as image:
            image.load()


def test_a_training_without_a_test_is_a_run_that_says_so_until_it_is_tested(tiny: str) -> None:
    firstlight.Trainer(max_epochs=1, **QUIET).fit(tiny_model(tiny))
    run = firstlight.load("logs/exercise/version_0")
    assert "test_acc" not in run.results
    assert run.predict(tiny_split("test").images[0].permute(1, 2, 0).numpy()).top(1)[0][0] in CLASS_NAMES
    with pytest.raises(RunError, match="firstlight test"):
        _ = run.predictions
    metrics = retest(run, enable_progress_bar=False, accelerator="cpu")
    tested = Run(run.path)
    assert tested.results["test_acc"] == metrics["test_acc"] == tested.predictions.accuracy
    assert (run.path / "misclassified.png").is_file()


def test_a_training_that_fails_leaves_a_run_without_weights_that_says_so(tiny: str) -> None:
    class Failing(firstlight.CustomResNet):
        def on_train_epoch_end(self) -> None:
            raise RuntimeError("power cut")

    model = Failing(num_classes=4, data=tiny, num_val=32, batch_size=64, network=ResNet9Config(width=2))
    with pytest.raises(RuntimeError, match="power cut"):
        firstlight.Trainer(max_epochs=1, **QUIET).fit(model)
    run = firstlight.load("logs/exercise/version_0")
    assert not run.is_finished
    with pytest.raises(RunError, match="did not end"):
        _ = run.network


@pytest.mark.slow
def test_each_training_of_one_model_has_its_own_run(tiny: str) -> None:
    model = tiny_model(tiny)
    for _ in range(2):
        trainer = firstlight.Trainer(max_epochs=1, **QUIET)
        trainer.fit(model)
        trainer.test(model, verbose=False)
    first, second = (Run(f"logs/exercise/version_{n}") for n in range(2))
    assert first.is_finished
    assert second.is_finished
    assert not torch.equal(first.network.head.weight, second.network.head.weight)


def test_a_second_training_by_the_same_trainer_discards_the_test_of_the_first(tiny: str) -> None:
    model = tiny_model(tiny)
    trainer = firstlight.Trainer(max_epochs=1, **QUIET)
    trainer.fit(model)
    trainer.test(model, verbose=False)
    trainer.fit_loop.max_epochs = 2
    trainer.fit(model)
    run = Run("logs/exercise/version_0")
    assert run.recipe.max_epochs == 2
    assert len((run.path / "metrics.csv").read_text().splitlines()) == 3
    assert not {"predictions.npz", "misclassified.png"} & names_in(run.path)
    assert "test_acc" not in run.results


def test_seconds_before_the_checkpoint_count_as_training_time(tiny: str, tmp_path: Path) -> None:
    model = tiny_model(tiny)
    first = firstlight.Trainer(max_epochs=1, **QUIET)
    first.fit(model)
    first.save_checkpoint(tmp_path / "last.ckpt")
    firstlight.Trainer(max_epochs=2, **QUIET).fit(model, ckpt_path=tmp_path / "last.ckpt")
    before, after = (Run(f"logs/exercise/version_{n}") for n in range(2))
    assert after.results["train_s"] > before.results["train_s"]
    assert len((after.path / "metrics.csv").read_text().splitlines()) == 3
    with pytest.raises(RunError, match="ckpt_path"):
        FitOptions.load(after.path)


def test_a_test_without_a_training_leaves_a_run(tiny: str) -> None:
    model = tiny_model(tiny, max_epochs=7)
    firstlight.Trainer(**QUIET).test(model, verbose=False)
    run = Run("logs/exercise/version_0")
    assert run.recipe.max_epochs == 7
    assert run.results["test_acc"] == run.predictions.accuracy
    assert "train_s" not in run.results
    assert names_in(run.path) >= RUN_FILES - {"metrics.csv", "samples.png", "curves.png"}


def test_unchanged_weights_are_not_written_and_calibrated_again(tiny: str) -> None:
    model, trainer = tiny_model(tiny), firstlight.Trainer(max_epochs=1, **QUIET)
    trainer.fit(model)
    run = Run("logs/exercise/version_0")
    written, calibration = run.weights_path.stat().st_mtime_ns, run.calibration
    trainer.test(model, verbose=False)
    assert run.weights_path.stat().st_mtime_ns == written
    assert calibration is not None
    assert Run(run.path).calibration == calibration
    assert run.holds_weights(model.network)
    with torch.no_grad():
        model.network.head.weight.add_(1)
    assert not run.holds_weights(model.network)


def test_the_tested_checkpoint_becomes_the_weights_of_the_run(tiny: str, tmp_path: Path) -> None:
    model = tiny_model(tiny)
    trainer = firstlight.Trainer(max_epochs=1, **QUIET)
    trainer.fit(model)
    trainer.save_checkpoint(tmp_path / "other.ckpt")
    changed = torch.load(tmp_path / "other.ckpt", weights_only=True)
    changed["state_dict"]["network.head.weight"].zero_()
    torch.save(changed, tmp_path / "other.ckpt")
    trainer.test(model, ckpt_path=tmp_path / "other.ckpt", verbose=False)
    run = Run("logs/exercise/version_0")
    assert not run.network.head.weight.any()
    assert torch.equal(run.predictions.logits, model.test_predictions.logits)


def test_the_sheet_has_the_calibrated_probabilities_of_the_tested_weights(
    tiny: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two tests: of the trained weights, and of a checkpoint whose logits are ten times as large."""
    drawn: list[Predictions] = []
    draw = show_sheet.misclassified_images

    def record(network: StagedNetwork, images: ImageSet, predictions: Predictions, *others: object) -> Figure:
        drawn.append(predictions)
        return draw(network, images, predictions, *others)

    monkeypatch.setattr(show_sheet, "misclassified_images", record)
    model, trainer = tiny_model(tiny), firstlight.Trainer(max_epochs=1, **QUIET)
    trainer.fit(model)
    trainer.test(model, verbose=False)
    first = Run("logs/exercise/version_0")
    assert first.temperature != 1
    torch.testing.assert_close(drawn[0].logits, first.predictions.logits / first.temperature)
    trainer.save_checkpoint(tmp_path / "other.ckpt")
    changed = torch.load(tmp_path / "other.ckpt", weights_only=True)
    changed["state_dict"]["network.head.weight"].mul_(10)
    torch.save(changed, tmp_path / "other.ckpt")
    trainer.test(model, ckpt_path=tmp_path / "other.ckpt", verbose=False)
    model.show_misclassified_images()
    second = Run(first.path)
    assert second.temperature == pytest.approx(10 * first.temperature, rel=0.02)
    for each in drawn[1:]:
        torch.testing.assert_close(each.logits, second.predictions.logits / second.temperature)
    assert len(drawn) == 3


@pytest.mark.parametrize("options", [{"logger": False}, {"fast_dev_run": True}], ids=["no logger", "fast_dev_run"])
def test_without_a_logger_nothing_is_written(tiny: str, tmp_path: Path, options: dict[str, object]) -> None:
    model = tiny_model(tiny)
    trainer = firstlight.Trainer(**(QUIET | {"max_epochs": 1} | options))
    trainer.fit(model)
    trainer.test(model, verbose=False)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_the_run_folder_is_below_the_users_root_folder(tiny: str, tmp_path: Path) -> None:
    for options, folder in (
        ({"default_root_dir": tmp_path / "root"}, "root/logs/exercise/version_0"),
        ({"logger": TensorBoardLogger(tmp_path / "mine", name="a", version="b")}, "mine/a/b"),
        ({"logger": CSVLogger(tmp_path / "csv")}, "logs/exercise/version_0"),
    ):
        model = tiny_model(tiny)
        trainer = firstlight.Trainer(max_epochs=1, **QUIET, **options)
        trainer.fit(model)
        trainer.test(model, verbose=False)
        assert names_in(tmp_path / folder) >= RUN_FILES, folder
    assert (tmp_path / "csv/lightning_logs/version_0/metrics.csv").is_file()


def test_a_training_on_the_users_own_loaders_leaves_no_run(tiny: str, caplog: pytest.LogCaptureFixture) -> None:
    images = tiny_split("test")
    loader = DataLoader(TensorDataset(images.images / 255, images.labels), batch_size=32)
    model = tiny_model(tiny)
    trainer = firstlight.Trainer(max_epochs=1, **QUIET)
    with caplog.at_level(logging.INFO, "firstlight"):
        trainer.fit(model, loader, loader)
    assert "leaves no run folder" in caplog.text
    trainer.test(model, loader, verbose=False)
    assert names_in(Path("logs/exercise/version_0")) >= {"metrics.csv"}
    with pytest.raises(RunError):
        firstlight.load("logs/exercise/version_0")


def test_a_module_of_another_class_is_ignored() -> None:
    trainer = firstlight.Trainer(max_epochs=1, limit_train_batches=1, limit_val_batches=1, **QUIET)
    trainer.fit(BoringModel())
    trainer.test(BoringModel(), verbose=False)
    assert not {"metrics.csv", "recipe.yaml", "results.json"} & names_in(Path("logs/exercise/version_0"))


def test_a_pruned_network_which_no_recipe_can_build_leaves_no_weights(tiny: str) -> None:
    class Pruned(firstlight.CustomResNet):
        def on_train_end(self) -> None:
            super().on_train_end()
            prune.l1_unstructured(self.network.head, "weight", 0.5)

    model = Pruned(num_classes=4, data=tiny, num_val=32, batch_size=64, network=ResNet9Config(width=2))
    firstlight.Trainer(max_epochs=1, **QUIET).fit(model)
    assert "model.safetensors" not in names_in(Path("logs/exercise/version_0"))
