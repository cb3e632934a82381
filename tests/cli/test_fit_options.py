"""The options of `firstlight fit` follow the network and the optimizer that recipe or command line name."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from firstlight.cli import main
from firstlight.recipes import get_recipe


def printed(capsys: pytest.CaptureFixture[str], arguments: str) -> str:
    """Return the output of a command that exits, such as --help."""
    with pytest.raises(SystemExit) as exit_:
        main(["fit", *arguments.split()])
    assert exit_.value.code == 0
    return capsys.readouterr().out


def test_help_shows_the_options_of_the_named_recipe(capsys: pytest.CaptureFixture[str]) -> None:
    exercise, fast = printed(capsys, "--help"), printed(capsys, "--recipe fast94 --help")
    assert "--network.deep_groups" not in exercise
    assert "--optimizer.schedule" in exercise
    assert "--network.deep_groups" in fast
    assert "--optimizer.bias_rate" in fast
    assert "default: 0.12" in " ".join(fast.split())
    assert all("--help_all" in each for each in (exercise, fast))


def test_help_all_shows_the_options_of_every_network_and_optimizer(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", "--help_all"]) == 0
    text = capsys.readouterr().out
    for option in ("network.deep_groups", "network.width", "optimizer.bias_rate", "optimizer.schedule", "max_epochs"):
        assert f"--{option} " in text
    for kind in ("--network.name resnet9", "--network.name speednet", "--optimizer.name muon"):
        assert f"With {kind}" in text
    assert "--trainer.KEY VALUE" in text


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (
            "--network.deep_groups 1",
            "but recipe adam24 uses resnet9. Add --network.name speednet, or choose another recipe: airbench94, fast94",
        ),
        ("--optimizer.bias_rate=1", "is an option of the optimizer muon, but recipe adam24 uses adam"),
        (
            "--recipe fast94 --optimizer.momentum 1 --optimizer.schedule constant",
            "of the optimizer adam and sgd, but recipe fast94",
        ),
        ("--network.name vgg", "network.name must be one of resnet9, speednet, or package.module:Class"),
        ("--network.nonsense 1", "--network.nonsense"),
    ],
)
def test_the_error_for_an_option_of_another_kind_names_that_kind(
    arguments: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["fit", *arguments.split()]) == 2
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1


def test_a_name_on_the_command_line_changes_the_kind(capsys: pytest.CaptureFixture[str]) -> None:
    options = "--network.name speednet --network.deep_groups 2 --optimizer.name muon --optimizer.bias_rate 3"
    config = yaml.safe_load(printed(capsys, f"{options} --print_config"))
    assert config["network"]["name"] == "speednet"
    assert config["network"]["deep_groups"] == 2
    assert (config["optimizer"]["name"], config["optimizer"]["bias_rate"]) == ("muon", 3)
    assert config["max_epochs"] == get_recipe("adam24").max_epochs


def test_a_printed_configuration_of_another_kind_can_be_read_again(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    first = printed(capsys, "--network.name speednet --optimizer.name muon --print_config")
    path = tmp_path / "config.yaml"
    path.write_text(first)
    assert yaml.safe_load(printed(capsys, f"--config {path} --print_config")) == yaml.safe_load(first)
