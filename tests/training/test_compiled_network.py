"""A network that `torch.compile` has wrapped trains, tests, explains and is saved like one that is not compiled."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn

import firstlight
from firstlight.attribution import explain
from firstlight.compiled import _is_compiled
from firstlight.networks import ResNet9Config, SpeedNetConfig
from firstlight.recipes.config import MuonConfig, Recipe
from firstlight.runs.run import Run
from firstlight.training.module import Classifier
from firstlight.training.trainer import SILENT


def tiny_model(tiny: str, **changes: Any) -> firstlight.CustomResNet:
    values = {"num_val": 32, "batch_size": 64, "network": ResNet9Config(width=4)} | changes
    return firstlight.CustomResNet(num_classes=4, data=tiny, **values)


def wrap(network: nn.Module) -> nn.Module:
    return torch.compile(network, backend="eager")  # type: ignore[return-value]


def compile_in_place(network: nn.Module) -> nn.Module:
    network.compile(backend="eager")
    return network


def wrap_one_stage(network: nn.Module) -> nn.Module:
    network.layer2 = wrap(network.layer2)
    return network


@pytest.fixture(params=[wrap, compile_in_place, wrap_one_stage], ids=lambda each: each.__name__)
def compile_network(request: pytest.FixtureRequest) -> Callable[[nn.Module], nn.Module]:
    return request.param  # type: ignore[no-any-return]


def test_a_compiled_network_trains_tests_and_shows_its_mistakes(
    tiny: str, compile_network: Callable[[nn.Module], nn.Module], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # the images are saved in the current folder
    model, plain = tiny_model(tiny), tiny_model(tiny)
    model.network = compile_network(model.network)
    assert set(model.state_dict()) == set(plain.state_dict())
    for each in (model, plain):
        trainer = firstlight.Trainer(max_epochs=1, limit_train_batches=2, precision="32-true", **SILENT)
        trainer.fit(each)
        trainer.test(each, verbose=False)
        assert each.show_misclassified_images(count=2)._repr_png_().startswith(b"\x89PNG")
    torch.testing.assert_close(model.state_dict(), plain.state_dict(), rtol=1e-3, atol=1e-4)
    assert model.test_predictions is not None
    assert model.test_predictions.features.shape[1] == plain.network.head.in_features


def test_state_dicts_fit_compiled_and_plain_models_alike(
    tiny: str, compile_network: Callable[[nn.Module], nn.Module]
) -> None:
    compiled = tiny_model(tiny)
    compiled.network = compile_network(compiled.network)
    for source, target in ((compiled, tiny_model(tiny, seed=1)), (tiny_model(tiny, seed=2), compiled)):
        target.load_state_dict(source.state_dict())
        assert all(torch.equal(value, target.state_dict()[name]) for name, value in source.state_dict().items())


@pytest.mark.parametrize("stage", ["layer2", "residual3", "all"])
def test_maps_of_a_compiled_network_are_those_of_the_plain_one(
    compile_network: Callable[[nn.Module], nn.Module], stage: str
) -> None:
    network, images = tiny_network(), torch.rand(4, 3, 32, 32)
    expected = explain(network, images, stage=stage)
    compiled = compile_network(network)
    compiled.eval()(images)  # compiled before the hooks of explain
    found = explain(compiled, images, stage=stage)
    assert found.stage == expected.stage
    torch.testing.assert_close(found.maps, expected.maps)
    assert torch.equal(explain(compiled, images, stage=network.residual3).maps, explain(network, images).maps)


def tiny_network() -> Any:
    torch.manual_seed(0)
    return firstlight.CustomResNet(network=ResNet9Config(width=2)).network.eval()


def test_the_weights_of_a_compiled_network_are_saved_under_plain_names(
    tiny: str, tmp_path: Path, compile_network: Callable[[nn.Module], nn.Module]
) -> None:
    model = tiny_model(tiny)
    model.data.setup("fit")
    plain = {name: value.clone() for name, value in model.network.state_dict().items()}
    model.recipe.save(tmp_path / "recipe.yaml")
    run = Run(tmp_path)
    run.save_weights(compile_network(model.network), model.data.train)
    assert all(torch.equal(value, plain[name]) for name, value in run.network.state_dict().items())


def test_muon_and_a_separate_head_rate_work_with_a_compiled_network(tiny: str) -> None:
    recipe = {"network": SpeedNetConfig(width=4), "optimizer": MuonConfig(), "averaging": 0.9, "max_epochs": 1}
    model = tiny_model(tiny, **recipe)
    model.network = wrap(model.network)
    trainer = firstlight.Trainer(**SILENT)
    trainer.fit(model)
    names = {group["name"] for group in trainer.optimizers[0].param_groups}
    assert {"filters", "head", "whitening"} <= names
    assert set(trainer._checkpoint_connector.dump_checkpoint()["state_dict"]) == set(
        tiny_model(tiny, **recipe).state_dict()
    )


def test_a_module_of_another_network_keeps_its_names() -> None:
    module = Classifier(nn.Sequential(nn.Flatten(), nn.Linear(12, 2)), Recipe())
    plain = set(module.state_dict())
    module.network = wrap(module.network)
    assert set(module.state_dict()) == plain


@pytest.mark.parametrize("kind", ["module", "network"])
def test_compiled_models_leave_a_run_with_their_graph(
    tiny: str, tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    model = tiny_model(tiny, network=ResNet9Config(width=2), max_epochs=1)
    if kind == "network":
        model.network = wrap(model.network)
    given = wrap(model) if kind == "module" else model
    trainer = firstlight.Trainer(
        default_root_dir=tmp_path, limit_train_batches=2, accelerator="cpu", enable_progress_bar=False
    )
    with caplog.at_level(logging.INFO, "firstlight"):
        trainer.fit(given)
    assert "ResNet9 with" in caplog.text
    assert _is_compiled(model.network)
    trainer.test(given, verbose=False)
    (run_path,) = (tmp_path / "logs" / "exercise").iterdir()
    run = Run(run_path)
    assert run.is_finished
    plain = {name.removeprefix("network."): value for name, value in model.state_dict().items() if "network" in name}
    assert all(torch.equal(value, plain[name]) for name, value in run.network.state_dict().items())
    events = EventAccumulator(str(run_path)).Reload()
    assert events.Tags()["graph"], "TensorBoard shows the model graph"
    assert given.show_misclassified_images(count=1)._repr_png_().startswith(b"\x89PNG")


def test_lightning_s_own_trainer_takes_a_compiled_module(tiny: str) -> None:
    compiled, plain = tiny_model(tiny), tiny_model(tiny)
    for model in (wrap(compiled), plain):
        trainer = pl.Trainer(max_epochs=1, limit_train_batches=2, accelerator="cpu", **SILENT)
        trainer.fit(model)
        trainer.test(model, verbose=False)
    torch.testing.assert_close(compiled.state_dict(), plain.state_dict(), rtol=1e-3, atol=1e-4)
    copy.deepcopy(compiled)
