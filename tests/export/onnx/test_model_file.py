"""The file of a bundle: its metadata, the formats of its weights, and the check before it is written."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

import firstlight
from firstlight.data.source import FunctionSource
from firstlight.errors import DataError, RunError, UsageError
from firstlight.export.bundle import Bundle
from firstlight.export.copy_bundle import copy_bundle
from firstlight.export.onnx import model_file, verification
from firstlight.export.onnx.maps_graph import METHODS
from firstlight.export.onnx.model_file import write_onnx_model
from firstlight.export.onnx.session import OnnxModel
from firstlight.export.onnx.weight_formats import WeightsName
from reference.tiny import tiny_split


@pytest.fixture
def few_images(monkeypatch: pytest.MonkeyPatch) -> None:
    """A check on few images, for speed."""
    monkeypatch.setattr(verification, "NUM_IMAGES", 24)
    monkeypatch.setattr(verification, "NUM_IMAGES_STAGE", 8)


@pytest.fixture
def data(tmp_path: Path) -> FunctionSource:
    return FunctionSource("tiny", tmp_path, 0, lambda _, split: tiny_split(split))


def filters_of(path: Path) -> list[np.ndarray]:
    """Return the stored filters of the 3x3 convolutions."""
    stored = [onnx.numpy_helper.to_array(each) for each in onnx.load(path).graph.initializer]
    return [each for each in stored if each.shape[2:] == (3, 3)]


def test_the_metadata_describes_the_model_and_the_check(bundle: Bundle, tmp_path: Path, few_images: None) -> None:
    found = write_onnx_model(bundle, tmp_path / "model.onnx", licence="cc0-1.0")
    facts = OnnxModel(str(tmp_path / "model.onnx")).metadata
    assert tuple(facts["class_names"]) == bundle.class_names
    assert facts["methods"] == list(METHODS)
    assert tuple(facts["stages"]) == (*bundle.network.stages, "all")
    assert tuple(facts["image_size"]) == bundle.size_px
    assert facts["temperature"] == bundle.temperature
    assert facts["novelty_threshold"] == bundle.novelty_threshold
    assert facts["mean"] == pytest.approx(bundle.network.normalize.mean.flatten().tolist())
    assert (facts["license"], facts["weights"]) == ("cc0-1.0", "float32")
    assert facts["firstlight_version"] == firstlight.__version__
    assert facts["verified"] == found.to_dict()
    assert found.num_images == 24
    assert found.same_class == 1
    assert 0 < found.logits < 1e-4
    assert set(found.stage_maps) == set(bundle.network.stages)


def test_half_weights_halve_the_file_and_change_nothing(bundle: Bundle, tmp_path: Path, few_images: None) -> None:
    """A bundle's weights are half-precision numbers, so that storing them as such loses nothing."""
    write_onnx_model(bundle, tmp_path / "float32.onnx")
    found = write_onnx_model(bundle, tmp_path / "float16.onnx", "float16")
    assert found.logits < 1e-4
    sizes = {}
    for name in ("float32", "float16"):
        filters = filters_of(tmp_path / f"{name}.onnx")
        assert {str(each.dtype) for each in filters} == {name}
        sizes[name] = sum(each.nbytes for each in filters)
    assert sizes["float16"] == sizes["float32"] / 2


def test_int8_weights_are_quantized_and_measured(
    bundle: Bundle, tmp_path: Path, data: FunctionSource, few_images: None
) -> None:
    found = write_onnx_model(bundle, tmp_path / "model.onnx", "int8", data=data)
    model, test = OnnxModel(str(tmp_path / "model.onnx")), tiny_split("test")
    filters = filters_of(tmp_path / "model.onnx")
    assert {each.dtype for each in filters} == {np.dtype(np.uint8)}
    assert max(np.abs(each.astype(int) - 128).max() for each in filters) == 127
    logits = model.run(test.images, torch.full((len(test),), -1))["logits"]
    accuracy = model.metadata["accuracy"]
    assert accuracy["num_images"] == len(test)
    assert accuracy["onnx"] == pytest.approx(float((logits.argmax(1) == test.labels).double().mean()))
    assert accuracy["pytorch"] == pytest.approx(bundle.measured["test"]["single_view"])
    assert abs(accuracy["onnx"] - accuracy["pytorch"]) < 0.05
    assert found.logits > 1e-4


def test_int8_needs_the_data_of_the_model(bundle: Bundle, tmp_path: Path, data: FunctionSource) -> None:
    with pytest.raises(UsageError, match="int8 need the training images"):
        write_onnx_model(bundle, tmp_path / "model.onnx", "int8")
    other = FunctionSource("other", tmp_path, 0, lambda _, split: replace(tiny_split(split), class_names=tuple("abcd")))
    with pytest.raises(DataError, match="its classes are not the model's"):
        write_onnx_model(bundle, tmp_path / "model.onnx", "int8", data=other)
    assert not (tmp_path / "model.onnx").exists()


@pytest.mark.parametrize("weights", ["float32", "float16"])
def test_a_file_that_differs_from_pytorch_is_not_written(
    weights: WeightsName, bundle: Bundle, tmp_path: Path, few_images: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(*arguments: object) -> tuple[object, object]:
        graph, stages = build_graph(*arguments)  # type: ignore[arg-type]
        for tensor in graph.constants.values():
            if len(tensor.dims) == 4 and tensor.dims[0] > 1:
                values = onnx.numpy_helper.to_array(tensor) * np.float32(1.01)
                values = values.astype(np.float16 if weights == "float16" else np.float32)
                tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
                break
        return graph, stages

    build_graph = model_file.build_graph
    monkeypatch.setattr(model_file, "build_graph", wrong)
    (tmp_path / "model.onnx").write_text("before")
    with pytest.raises(RunError, match=r"is not written, because it does not agree with PyTorch: .*logits differ by"):
        write_onnx_model(bundle, tmp_path / "model.onnx", weights)
    assert (tmp_path / "model.onnx").read_text() == "before"


def test_a_bundle_without_images_is_checked_on_random_pixels(bundle: Bundle, tmp_path: Path, few_images: None) -> None:
    bare = copy_bundle(bundle, tmp_path / "bare", with_images=False)
    found = write_onnx_model(bare, tmp_path / "model.onnx")
    assert found.images == "24 images of random pixels"
    assert found.is_exact


def test_every_number_of_the_metadata_is_json(bundle: Bundle, tmp_path: Path, few_images: None) -> None:
    write_onnx_model(bundle, tmp_path / "model.onnx")
    stored = {each.key: each.value for each in onnx.load(tmp_path / "model.onnx").metadata_props}
    for name in ("class_names", "methods", "stages", "image_size", "temperature", "mean", "std", "verified"):
        json.loads(stored[name])
    assert "license" not in stored, "the user has given none"
