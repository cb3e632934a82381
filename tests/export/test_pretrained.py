"""Shared weights: half precision, `from_pretrained`, and errors in one line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import firstlight
from firstlight.errors import DataError, RunError
from firstlight.export.bundle import Bundle
from firstlight.export.hub import write_hub
from firstlight.networks import ResNet9, ResNet9Config, SpeedNet, SpeedNetConfig
from firstlight.runs.model_config import ModelConfig
from firstlight.runs.pretrained import Pretrained, save_pretrained
from firstlight.runs.run import Run
from reference.tiny import CLASS_NAMES, tiny_split


@pytest.fixture
def hub(bundle: Bundle, tmp_path: Path) -> Path:
    write_hub(bundle, tmp_path / "hub")
    return tmp_path / "hub"


def test_a_hub_folder_contains_the_files_that_hubs_require(hub: Path) -> None:
    assert sorted(path.name for path in hub.iterdir()) == [
        "README.md",
        "config.json",
        "measured.json",
        "model.safetensors",
    ]


def test_every_weight_is_the_runs_rounded_to_half_precision(hub: Path, run: Run) -> None:
    stored, expected = load_file(hub / "model.safetensors"), run.network.state_dict()
    assert set(stored) == set(expected)
    for name, tensor in expected.items():
        wanted = tensor.half() if tensor.is_floating_point() else tensor
        assert stored[name].dtype == wanted.dtype
        assert torch.equal(stored[name], wanted), name


def test_from_pretrained_predicts_like_a_network_with_the_rounded_weights(hub: Path, run: Run) -> None:
    model = firstlight.Pretrained.from_pretrained(hub)
    plain = ResNet9(4, ResNet9Config(width=2))
    plain.load_state_dict({name: tensor.float() for name, tensor in load_file(hub / "model.safetensors").items()})
    images = tiny_split("test").images[:6]
    with torch.no_grad():
        expected = (plain.eval()(images / 255) / model.temperature).softmax(dim=1)
    found = model.predict_many([each.permute(1, 2, 0).numpy() for each in images])
    for prediction, row in zip(found, expected, strict=True):
        assert [prediction.probabilities[name] for name in CLASS_NAMES] == pytest.approx(row.tolist(), abs=1e-5)
    assert model.class_names == run.class_names
    assert model.size_px == (16, 16)
    assert not model.network.training
    assert next(model.network.parameters()).dtype == torch.float32


def test_weights_that_are_loaded_in_inference_mode_are_ordinary_tensors(hub: Path) -> None:
    model = Pretrained(hub)
    with torch.inference_mode():
        model.predict(np.zeros((16, 16, 3), np.uint8))
    assert not any(parameter.is_inference() for parameter in model.network.parameters())


def test_a_model_in_the_hubs_cache_is_found_by_its_name_without_a_network(
    hub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    repository = tmp_path / "cache" / "models--someone--resnet9"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("0" * 40)
    shutil.copytree(hub, repository / "snapshots" / ("0" * 40))
    model = Pretrained.from_pretrained("someone/resnet9")
    assert model.class_names == CLASS_NAMES
    with pytest.raises(DataError, match="there is no folder someone/else, and the hub has no such model"):
        Pretrained.from_pretrained("someone/else")


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_missing_file_is_named(hub: Path, name: str) -> None:
    (hub / name).unlink()
    with pytest.raises(RunError, match=f"holds no {name}"):
        Pretrained.from_pretrained(hub)


def changed(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"network": {"width": 0}},
        {"network": {"width": 10**9}},
        {"network": {"width": "wide"}},
        {"network": {"width": None}},
        {"network": {"width": True}},
        {"network": {"depth": 2}},
        {"network": [2]},
        {"network": None},
        {"class_names": []},
        {"class_names": "cat"},
        {"class_names": [1, 2, 3, 4]},
        {"size_px": [16]},
        {"size_px": [16, -1]},
        {"size_px": 16},
        {"temperature": 0},
        {"temperature": float("nan")},
        {"temperature": float("inf")},
        {"novelty_threshold": "high"},
        {"recipe": 3},
        {"architecture": "ResNet50"},
    ],
    ids=str,
)
def test_an_invalid_configuration_is_one_line(hub: Path, changes: dict[str, Any]) -> None:
    changed(hub, **changes)
    with pytest.raises(RunError, match=r"config\.json: cannot be used") as caught:
        _ = Pretrained(hub).config
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff\xfe", b"[" * 100_000, b" " * 1_100_000])
def test_a_configuration_that_is_no_json_object_is_one_line(hub: Path, content: bytes) -> None:
    (hub / "config.json").write_bytes(content)
    with pytest.raises(RunError, match=r"config\.json: cannot be used"):
        _ = Pretrained(hub).config


@pytest.mark.parametrize("width", [1, 3, 4096])
def test_weights_of_another_width_are_refused_before_the_network_is_built(hub: Path, width: int) -> None:
    changed(hub, network={"width": width})
    with pytest.raises(RunError, match=r"model.safetensors: .* does not fit"):
        _ = Pretrained(hub).network


@pytest.mark.parametrize("damage", ["cut short", "text", "other names", "a pickle"])
def test_damaged_weights_are_one_line(hub: Path, damage: str) -> None:
    path = hub / "model.safetensors"
    if damage == "cut short":
        path.write_bytes(path.read_bytes()[:-10])
    elif damage == "text":
        path.write_text("weights")
    elif damage == "other names":
        save_file({"other": torch.zeros(1)}, path)
    else:
        torch.save({"prep.conv.weight": torch.zeros(1)}, path)
    with pytest.raises(RunError, match="cannot be read as the network's weights"):
        _ = Pretrained(hub).network


def test_a_speednet_can_be_shared(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = SpeedNet(2, SpeedNetConfig(width=2, head_scale=0.5)).eval()
    config = ModelConfig(SpeedNetConfig(width=2, head_scale=0.5), ("a", "b"), (16, 16))
    shared = save_pretrained(tmp_path, config, network.state_dict())
    images = torch.rand(3, 3, 16, 16)
    with torch.no_grad():
        torch.testing.assert_close(Pretrained(tmp_path).network(images), network(images), rtol=0.02, atol=0.02)
    assert shared.config == config


def test_weights_too_large_for_half_precision_are_refused(tmp_path: Path) -> None:
    config = ModelConfig(ResNet9Config(width=1), class_names=("a", "b"), size_px=(8, 8))
    state = ResNet9(2, ResNet9Config(width=1)).state_dict()
    state["head.weight"][0, 0] = 1e6
    with pytest.raises(RunError, match="half precision"):
        save_pretrained(tmp_path, config, state)
