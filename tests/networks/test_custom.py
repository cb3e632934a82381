"""Networks outside firstlight: found by import path, built, checked; imported only if the user names them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import yaml

import firstlight
from firstlight.cli import main
from firstlight.errors import FirstlightError, RunError, UsageError
from firstlight.networks import CustomNetworkConfig, ResNet9Config, SpeedNetConfig, StagedNetwork, build_network
from firstlight.networks.custom import import_network_module
from firstlight.networks.network_config import default_network_config
from firstlight.recipes.config import Recipe
from firstlight.recipes.nested import from_dict

SOURCE = '''
from torch import nn

from firstlight.layers.normalize import Normalize
from firstlight.networks import StagedNetwork
from firstlight.networks.resnet9 import conv_block


class Plain(StagedNetwork):
    """Two convolution blocks and a head.

    Args:
        width: Number of channels of the first stage.
    """

    stages = ("low", "high")

    def __init__(self, num_classes, mean, std, width: int = 4, head: bool = True):
        super().__init__()
        self.normalize = Normalize(mean, std)
        self.low = conv_block(3, width, pool=True)
        self.high = conv_block(width, 2 * width, pool=True)
        self.pool = nn.AdaptiveMaxPool2d(1)
        if head:
            self.head = nn.Linear(2 * width, num_classes, bias=False)


class Ragged(Plain):
    """Names a stage that it lacks, and always has three outputs."""

    stages = ("low", "middle")

    def __init__(self, num_classes, mean, std):
        super().__init__(3, mean, std)


class Unstaged(nn.Module):
    """Derives from the wrong class."""
'''


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A current folder with a module `outside` that is not imported."""
    (tmp_path / "outside.py").write_text(SOURCE)
    (tmp_path / "broken.py").write_text("import json\nnot_defined()\n")
    (tmp_path / "lacking.py").write_text("import a_package_that_nobody_has\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [each for each in sys.path if each not in ("", str(tmp_path))])
    yield tmp_path
    for name in ("outside", "broken", "lacking"):
        sys.modules.pop(name, None)


def forget(name: str) -> None:
    """Remove the module from the imported modules."""
    sys.modules.pop(name, None)


def test_a_class_is_built_with_the_number_of_classes_the_statistics_and_its_options(folder: Path) -> None:
    import_network_module("outside")
    config = CustomNetworkConfig("outside:Plain", {"width": 3})
    network = build_network(7, config, mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6))
    assert isinstance(network, StagedNetwork)
    assert type(network).__name__ == "Plain"
    assert network.low.get_submodule("conv").weight.shape == (3, 3, 3, 3)
    assert network.normalize.mean.flatten().tolist() == pytest.approx([0.1, 0.2, 0.3])
    assert network(torch.rand(2, 3, 16, 16)).shape == (2, 7)


def test_a_recipe_keeps_name_and_options_as_plain_data(tmp_path: Path) -> None:
    network = CustomNetworkConfig("outside:Plain", {"width": 3, "names": ("a", "b"), "deep": {"x": 1}})
    recipe = Recipe(network=network)
    recipe.save(tmp_path / "recipe.yaml")
    kept = yaml.safe_load((tmp_path / "recipe.yaml").read_text())["network"]
    assert kept == {"name": "outside:Plain", "width": 3, "names": ["a", "b"], "deep": {"x": 1}}
    assert Recipe.load(tmp_path / "recipe.yaml") == recipe
    assert recipe.flat()["network.width"] == 3
    assert len({recipe, Recipe(network=network)}) == 1
    assert "outside" not in sys.modules


@pytest.mark.parametrize(
    ("values", "config"),
    [
        ({"width": 5}, ResNet9Config(width=5)),
        ({"width": 5, "name": "resnet9"}, ResNet9Config(width=5)),
        ({"width": 5, "deep_groups": 1, "name": "speednet"}, SpeedNetConfig(width=5, deep_groups=1)),
    ],
)
def test_recipes_of_built_in_networks_open_as_before(values: dict[str, object], config: object) -> None:
    assert from_dict(Recipe, {"network": values}).network == config


def test_the_class_itself_names_its_configuration(folder: Path) -> None:
    import_network_module("outside")
    config = CustomNetworkConfig.of(sys.modules["outside"].Plain, width=2)
    assert config == CustomNetworkConfig("outside:Plain", {"width": 2})


@pytest.mark.parametrize(
    ("config", "says"),
    [
        (("outside:Absent", {}), "the module outside has no Absent"),
        (("outside:nn", {}), "nn is not a class derived from firstlight.networks.StagedNetwork"),
        (("outside:Unstaged", {}), "Unstaged is not a class derived from firstlight.networks.StagedNetwork"),
        (("outside:Plain", {"depth": 2}), "cannot be called with num_classes, mean, std, depth"),
        (("outside:Plain", {"head": False}), "it has no head of type Linear"),
        (("outside:Ragged", {}), "its stage 'middle' is not a submodule; its head has 3 outputs for 5 classes"),
    ],
)
def test_a_class_that_cannot_be_used_is_refused_in_one_line(
    folder: Path, config: tuple[str, dict[str, object]], says: str
) -> None:
    import_network_module("outside")
    with pytest.raises(UsageError) as refused:
        build_network(5, CustomNetworkConfig(*config))
    assert says in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("outside", {}, "network.name must be an import path package.module:Class, not 'outside'"),
        ("a b:C", {}, "must be an import path"),
        ("..a:C", {}, "must be an import path"),
        ("a:C", {"mean": 1}, "network.mean: no option of a network can have this name"),
        ("a:C", {"x y": 1}, "network.x y: no option"),
        ("a:C", {"x": object()}, "network.x must be a number, text, a boolean, None, or a list or dictionary"),
    ],
)
def test_invalid_names_and_options_are_refused(name: str, options: dict[str, object], says: str) -> None:
    with pytest.raises(UsageError) as refused:
        Recipe(network=CustomNetworkConfig(name, options))
    assert says in str(refused.value)


@pytest.mark.parametrize(
    ("module", "says"),
    [
        ("absent_module", "there is no module absent_module in"),
        ("outside.deeper", "there is no module outside.deeper in"),
        ("broken", "importing broken failed: NameError: name 'not_defined' is not defined"),
        ("lacking", "importing lacking failed: ModuleNotFoundError: No module named 'a_package_that_nobody_has'"),
    ],
)
def test_a_module_that_cannot_be_imported_is_named_with_the_reason(folder: Path, module: str, says: str) -> None:
    with pytest.raises(UsageError) as refused:
        import_network_module(module)
    assert says in str(refused.value)
    assert module != "broken" or "broken.py, line 2" in str(refused.value)


def test_the_error_for_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(UsageError, match=r"one of resnet9, speednet, or package\.module:Class"):
        default_network_config("vgg")


def test_a_run_of_a_users_network_opens_only_if_its_module_is_named(
    folder: Path, tiny: str, capsys: pytest.CaptureFixture[str]
) -> None:
    options = f"--data {tiny} --num_val 32 --max_epochs 2 --batch_size 32 --logger none"
    named = ["--network.name", "outside:Plain", "--network.width", "6"]
    assert main(["fit", *options.split(), *named]) == 0, capsys.readouterr().err
    run = folder / "logs" / "adam24" / "version_0"
    kept = yaml.safe_load((run / "recipe.yaml").read_text())["network"]
    assert kept == {"name": "outside:Plain", "width": 6, "head": True}

    forget("outside")
    capsys.readouterr()
    for command in (["explain", str(run)], ["summary", "--run", str(run)], ["fit", "--config", str(folder / "c.yaml")]):
        (folder / "c.yaml").write_text("network: {name: 'outside:Plain', width: 6}\n")
        assert main(command) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        assert "add --network_module outside to the command, or `import outside` first in Python" in error
        assert "outside" not in sys.modules

    assert main(["summary", "--run", str(run), "--network_module", "outside"]) == 0
    assert "Plain, one 16x16 image" in capsys.readouterr().out
    forget("outside")
    opened = firstlight.load(run)
    with pytest.raises(FirstlightError, match="import outside"):
        _ = opened.network
    assert "outside" not in sys.modules
    import_network_module("outside")
    assert type(opened.network).__name__ == "Plain"
    assert main(["export", str(run), "--to", "hub", str(folder / "shared")]) == 2
    assert "cannot be exported, because the exported folder holds no code" in capsys.readouterr().err
    assert main(["export", str(run), "--to", "onnx", str(folder / "onnx"), "--weights", "float16"]) == 0
    text = (folder / "onnx" / "README.md").read_text()
    assert "# Plain on tiny, recipe adam24: ONNX" in text
    assert "0 `low`, 1 `high`" in text
    assert main(["export", str(run), "--to", "onnx", str(folder / "no"), "--calibrate_on", str(run)]) == 2
    assert "--calibrate_on does nothing for --to onnx and a network of your own" in capsys.readouterr().err


def test_an_interrupted_run_is_resumed_with_the_module_named(
    folder: Path, tiny: str, capsys: pytest.CaptureFixture[str]
) -> None:
    options = f"--data {tiny} --num_val 32 --max_epochs 1 --batch_size 32 --logger none"
    assert main(["fit", *options.split(), "--network.name", "outside:Plain"]) == 0
    run = folder / "logs" / "adam24" / "version_0"
    (run / "results.json").unlink()  # as if the training had been interrupted
    forget("outside")
    capsys.readouterr()
    assert main(["fit", "--resume", str(run)]) == 2
    assert "--network_module outside" in capsys.readouterr().err
    assert main(["fit", "--resume", str(run), "--network_module", "outside"]) == 0
    assert (run / "results.json").is_file()


def test_the_five_lines_train_a_users_network_and_a_checkpoint_imports_no_module(folder: Path, tiny: str) -> None:
    model = firstlight.CustomResNet(
        data=tiny, num_classes=4, num_val=32, batch_size=32, network={"name": "outside:Plain", "width": 5}
    )
    trainer = firstlight.Trainer(max_epochs=1, logger=False, enable_checkpointing=False)
    trainer.fit(model)
    trainer.save_checkpoint(folder / "model.ckpt")
    again = firstlight.CustomResNet.load_from_checkpoint(folder / "model.ckpt")
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))
    forget("outside")
    with pytest.raises(FirstlightError, match="import outside"):
        firstlight.CustomResNet.load_from_checkpoint(folder / "model.ckpt")
    assert "outside" not in sys.modules


def test_the_summary_describes_a_users_network(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["summary", "--network.name", "outside:Plain", "--network.width", "2", "--num_classes", "3"]) == 0
    assert f"{2 * 3 * 9 + 4 * 2 * 9 + 2 * 2 + 2 * 4 + 4 * 3:,} parameters" in capsys.readouterr().out


def test_an_exported_folder_cannot_name_a_users_network(folder: Path) -> None:
    from firstlight.runs.model_config import ModelConfig

    (folder / "config.json").write_text(
        '{"library": "firstlight", "architecture": "outside:Plain", "network": {"name": "outside:Plain"}, '
        '"class_names": ["a", "b"], "size_px": [16, 16], "temperature": 1.0}'
    )
    with pytest.raises(RunError, match="has no network 'outside:Plain'"):
        ModelConfig.load(folder)
    assert "outside" not in sys.modules
