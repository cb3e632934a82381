"""Write the ONNX file of a model: build its graph, describe it in its metadata, check it against PyTorch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import onnx
import torch
from onnx import TensorProto, helper

import firstlight
from firstlight.attribution import ALL_STAGES
from firstlight.data.source import Source
from firstlight.errors import UsageError
from firstlight.export.bundle import Bundle
from firstlight.export.onnx.accuracy import check_classes, measure_accuracy
from firstlight.export.onnx.activation_ranges import measure_ranges
from firstlight.export.onnx.graph import IR_VERSION, OPSET, Graph
from firstlight.export.onnx.maps_graph import METHODS
from firstlight.export.onnx.network_graph import (
    FEATURES,
    IMAGE,
    IS_NOVEL,
    LOGITS,
    MAP,
    METHOD,
    PREPARED,
    PROBABILITIES,
    STAGE,
    TARGET,
    build_graph,
)
from firstlight.export.onnx.onnx_source import OnnxSource
from firstlight.export.onnx.session import OnnxModel
from firstlight.export.onnx.verification import Verification, verify
from firstlight.export.onnx.weight_formats import HalfWeights, QuantizedWeights, WeightFormat, WeightsName
from firstlight.files import atomic
from firstlight.runs.predictor import Predictor

NUM_CALIBRATION = 1024  # training images, evenly spaced


def write_onnx_model(
    model: Bundle | OnnxSource,
    path: Path,
    weights: WeightsName = "float32",
    *,
    data: Source | None = None,
    licence: str | None = None,
) -> Verification:
    """Write the ONNX file of a model, and check it against PyTorch.

    Args:
        model: Model to write.
        path: Path of the file; an existing file is replaced if the check succeeds.
        weights: How the file stores the weights of the network: "float32", "float16" (half the size, computed in
            float32) or "int8" (a quarter of the size; convolutions of integers).
        data: Data set of the model; needed for "int8", which measures the ranges of the maps on its training images and
            the accuracy on its test images.
        licence: Identifier of the licence that the user gives the weights; None keeps the bundle's.

    Returns:
        The result of the check, which the metadata of the file contains as well.

    Raises:
        UsageError: A layer cannot be translated, or the data set is missing.
        DataError: The data set has other classes than the model.
        RunError: The file does not reproduce PyTorch's results.
    """
    source = model if isinstance(model, OnnxSource) else OnnxSource.of_bundle(model)
    made, stages = build_model(source.model, weights, data)
    content = made.SerializeToString()
    verification = verify(content, source.model, source.images, stages, weights)
    facts = describe(source, stages, weights, licence) | {"verified": json.dumps(verification.to_dict())}
    if weights == "int8" and data is not None:
        facts["accuracy"] = json.dumps(measure_accuracy(OnnxModel(content), source.model, data.test()))
    helper.set_model_props(made, facts)
    with atomic(path) as temporary:
        temporary.write_bytes(made.SerializeToString())
    return verification


def build_model(
    model: Predictor, weights: WeightsName, data: Source | None = None
) -> tuple[onnx.ModelProto, tuple[str, ...]]:
    """Return the ONNX model without metadata, and the names of the stages for which it has maps."""
    graph, stages = build_graph(model, _weight_format(model, weights, data))
    return assemble(graph, model), stages


def describe(
    source: OnnxSource, stages: tuple[str, ...], weights: WeightsName, licence: str | None = None
) -> dict[str, str]:
    """Return the metadata of the file; lists and numbers are JSON."""
    model, normalize = source.model, source.model.network.normalize
    values: dict[str, Any] = {
        "class_names": model.class_names,
        "methods": list(METHODS),
        "stages": [*stages, *([ALL_STAGES] if stages == tuple(model.network.stages) else [])],
        "image_size": model.size_px,
        "temperature": model.temperature,
        "mean": normalize.mean.flatten().tolist(),
        "std": normalize.std.flatten().tolist(),
    }
    if model.novelty_threshold is not None:
        values["novelty_threshold"] = model.novelty_threshold
    own_licence = {} if licence is None else {"license": licence}
    texts = {"title": source.title, "weights": weights, "firstlight_version": firstlight.__version__}
    # The licence that the user gives replaces that of the source.
    return {name: json.dumps(value) for name, value in values.items()} | source.facts | own_licence | texts


def _weight_format(model: Predictor, weights: WeightsName, data: Source | None) -> WeightFormat:
    if weights != "int8":
        return HalfWeights() if weights == "float16" else WeightFormat()
    if data is None:
        raise UsageError("weights in int8 need the training images: give the data set of the model")
    train = data.train()
    check_classes(model, train)
    images = train[torch.linspace(0, len(train) - 1, min(NUM_CALIBRATION, len(train))).long()].images
    return QuantizedWeights(measure_ranges(model.network, images))


def assemble(graph: Graph, model: Predictor) -> onnx.ModelProto:
    """Return the model of a finished graph, with its inputs and outputs declared."""
    value = helper.make_tensor_value_info
    height, width = model.size_px
    num_classes, num_features = model.network.head.weight.shape
    inputs = [
        value(IMAGE, TensorProto.UINT8, ["n", "height", "width", 3]),
        value(TARGET, TensorProto.INT64, ["n"]),
        value(METHOD, TensorProto.INT64, []),
        value(STAGE, TensorProto.INT64, []),
    ]
    outputs = [
        value(LOGITS, TensorProto.FLOAT, ["n", num_classes]),
        value(PROBABILITIES, TensorProto.FLOAT, ["n", num_classes]),
        value(MAP, TensorProto.FLOAT, ["n", "map_height", "map_width"]),
        value(FEATURES, TensorProto.FLOAT, ["n", num_features]),
        value(PREPARED, TensorProto.UINT8, ["n", height, width, 3]),
    ]
    if model.novelty_threshold is not None:
        outputs.append(value(IS_NOVEL, TensorProto.BOOL, ["n"]))
    content = helper.make_graph(graph.nodes, "firstlight", inputs, outputs, list(graph.constants.values()))
    made = helper.make_model(content, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    made.producer_name, made.producer_version = "firstlight", firstlight.__version__
    onnx.checker.check_model(made)
    return made
