"""Eigen-CAM as ONNX operations agrees with NumPy's singular value decomposition."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from firstlight.export.onnx.eigen_map import eigen_cam
from firstlight.export.onnx.graph import IR_VERSION, OPSET, Graph
from firstlight.export.onnx.translation import Maps


def run(activations: np.ndarray) -> np.ndarray:
    graph = Graph()
    graph.name(eigen_cam(graph, Maps("x", (1, *activations.shape[1:]))), "map")
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", *activations.shape[1:]])]
    outputs = [helper.make_tensor_value_info("map", TensorProto.FLOAT, ["n", *activations.shape[2:]])]
    content = helper.make_graph(graph.nodes, "eigen", inputs, outputs, list(graph.constants.values()))
    made = helper.make_model(content, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    onnx.checker.check_model(made)
    return onnxruntime.InferenceSession(made.SerializeToString()).run(None, {"x": activations})[0]


def by_svd(activations: np.ndarray) -> np.ndarray:
    """Project cells onto the first right singular vector, with a positive sum (Muhammad and Yeasin, 2020)."""
    maps = []
    for each in activations.astype(np.float64):
        cells = each.reshape(len(each), -1).T
        projected = cells @ np.linalg.svd(cells)[2][0]
        maps.append((projected * (-1 if projected.sum() < 0 else 1)).reshape(each.shape[1:]))
    return np.stack(maps)


@pytest.mark.parametrize("shape", [(3, 4, 5, 6), (3, 40, 2, 3), (2, 6, 2, 3), (1, 1, 4, 4), (2, 5, 1, 1)])
@pytest.mark.parametrize("offset", [0.0, 0.5, -2.0])
def test_the_map_is_that_of_the_singular_value_decomposition(shape: tuple[int, ...], offset: float) -> None:
    activations = np.random.default_rng(0).normal(offset, 1, shape).astype(np.float32)
    np.testing.assert_allclose(run(activations), by_svd(activations), atol=2e-3)


def test_scales_from_tiny_to_huge_are_kept() -> None:
    activations = np.random.default_rng(1).normal(1, 1, (1, 4, 3, 3)).astype(np.float32)
    for scale in (1e-6, 1e6):
        found = run(activations * np.float32(scale)) / scale
        np.testing.assert_allclose(found, by_svd(activations), rtol=1e-3)


def test_two_similar_directions_are_told_apart_and_zeros_stay_zero() -> None:
    cells = np.zeros((2, 2, 2, 2), np.float32)
    cells[0, 0, 0, 0], cells[0, 1, 1, 1] = 1.0, 0.99  # eigenvalues 1 and 0.98
    found = run(cells)
    np.testing.assert_allclose(found[0], [[1, 0], [0, 0]], atol=1e-6)
    assert not found[1].any()
