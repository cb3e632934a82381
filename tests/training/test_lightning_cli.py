"""Lightning's command line knows every option of `CustomResNet` and `Trainer`; wrong arguments are named."""

from __future__ import annotations

import dataclasses
import inspect
import sys
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
from pytorch_lightning.cli import LightningCLI

import firstlight
from firstlight.errors import UsageError
from firstlight.networks import ResNet9Config, SpeedNetConfig
from firstlight.recipes.config import MuonConfig, Recipe
from firstlight.training.trainer import lightning_options


@pytest.fixture(autouse=True)
def _no_arguments_of_pytest(monkeypatch: pytest.MonkeyPatch) -> None:
    """LightningCLI warns of arguments on the command line beside `args`."""
    monkeypatch.setattr(sys, "argv", ["train.py"])


def make_cli(*arguments: str, run: bool = False) -> LightningCLI:
    return LightningCLI(
        firstlight.CustomResNet,
        trainer_class=firstlight.Trainer,
        save_config_callback=None,
        run=run,
        args=list(arguments),
    )


def test_every_option_has_its_type_and_default() -> None:
    model, trainer = (inspect.signature(each).parameters for each in (firstlight.CustomResNet, firstlight.Trainer))
    for field in dataclasses.fields(Recipe):
        assert not isinstance(model[field.name].annotation, str)
        assert model[field.name].default in (field.default, None)
    lightnings = inspect.signature(pl.Trainer).parameters
    assert set(trainer) == {*lightning_options(), "histograms"}
    for name in set(trainer) - {"max_epochs", "histograms"}:
        assert trainer[name].annotation == lightnings[name].annotation
        assert trainer[name].default == lightnings[name].default
    assert "batch_size" in (firstlight.CustomResNet.__init__.__doc__ or "")


def test_a_command_line_and_its_configuration_file_make_the_same_model(tmp_path: Path) -> None:
    network = "{name: speednet, width: 8, pad_patches: true}"
    cli = make_cli("--model.network", network, "--model.optimizer.name", "muon", "--model.augmentation.cutout_px", "4")
    assert cli.model.recipe.network == SpeedNetConfig(width=8, pad_patches=True)
    assert cli.model.recipe.optimizer == MuonConfig()
    assert cli.model.recipe.augmentation.cutout_px == 4
    path = tmp_path / "config.yaml"
    path.write_text(cli.parser.dump(cli.config))
    assert make_cli("--config", str(path)).model.recipe == cli.model.recipe


def test_the_command_line_s_defaults_are_those_of_the_five_lines() -> None:
    cli, trainer = make_cli("--model.network.width", "4"), firstlight.Trainer()
    assert cli.model.recipe == Recipe(network=ResNet9Config(width=4))
    assert cli.trainer.log_every_n_steps == trainer.log_every_n_steps
    assert [type(each) for each in cli.trainer.callbacks] == [type(each) for each in trainer.callbacks]
    assert str(cli.trainer.precision) == str(trainer.precision)


def test_the_command_line_trains(tiny: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    options = ["--model.data", tiny, "--model.num_classes", "4", "--model.num_val", "32", "--model.network.width", "4"]
    fast = ["--trainer.max_epochs", "1", "--trainer.limit_train_batches", "1", "--trainer.enable_progress_bar", "false"]
    cli = make_cli("fit", *options, *fast, run=True)
    assert cli.trainer.global_step == 1
    (checkpoint,) = tmp_path.rglob("*.ckpt")
    assert firstlight.CustomResNet.load_from_checkpoint(checkpoint).recipe == cli.model.recipe


def test_an_option_of_the_wrong_type_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        make_cli("--model.batch_size", "many")
    assert ended.value.code == 2
    assert '"model.batch_size"' in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"batchsize": 1}, "no argument batchsize: did you mean batch_size"),
        ({"learning_rate": 1}, "learning_rate: it is part of optimizer"),
        ({"anything": 1}, "The arguments are name"),
        ({"batch_size": "12"}, "batch_size must be of type int, not '12'"),
        ({"seed": 1.5}, "seed must be of type int"),
        ({"max_epochs": None}, "max_epochs must be of type int"),
        ({"resizing": 8}, "resizing must be a configuration or a dictionary, not 8"),
        ({"augmentation": None}, "augmentation must be a configuration"),
        ({"network": {"width": "8"}}, "network.width must be of type int, not '8'"),
        ({"network": {"wdth": 8}}, "network has no field wdth"),
        ({"num_classes": 1}, "num_classes must be an integer of 2 or more"),
    ],
)
def test_a_wrong_argument_is_named_before_anything_runs(changes: dict[str, Any], expected: str) -> None:
    with pytest.raises(UsageError, match=expected):
        firstlight.CustomResNet(**changes)


def test_parts_can_be_dictionaries() -> None:
    model = firstlight.CustomResNet(batch_size=128, network={"width": 8}, optimizer={"name": "sgd"})
    assert model.recipe.network == ResNet9Config(width=8)
    assert (model.recipe.optimizer.name, model.recipe.batch_size) == ("sgd", 128)
    assert dict(model.hparams)["network"] == {"width": 8, "name": "resnet9"}
