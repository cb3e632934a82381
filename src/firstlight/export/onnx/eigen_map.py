"""Eigen-CAM as ONNX operations, by repeated squaring because ONNX has no eigenvalues."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto

from firstlight.export.onnx.graph import Graph
from firstlight.export.onnx.translation import Maps

NUM_SQUARINGS = 14  # the second eigenvalue fades if it is below 0.999 of the first: 0.999^(2^14) = 8e-8
TINY = np.float32(1e-30)  # a divisor of zeros


def eigen_cam(graph: Graph, activations: Maps) -> str:
    """Add the map of `firstlight.attribution.eigen_cam`, float [n h w].

    Let A hold a row for each cell. The first eigenvector v of A^T A, or of A A^T if that is smaller, is a column of the
    limit v v^T of (A^T A)^p / |(A^T A)^p| for large p, which is computed by squaring. The longest column is taken,
    because the others can be zero.

    Args:
        graph: Graph to add to.
        activations: Activations of the stage.
    """
    _, channels, height, width = activations.shape
    size = min(channels, height * width)
    by_channel = graph.add("Reshape", activations.name, np.array([-1, channels, height * width]))  # A^T
    cells = graph.add("Transpose", by_channel, perm=[0, 2, 1])  # A
    if height * width >= channels:
        projected = graph.add("MatMul", cells, _first_eigenvector(graph, graph.add("MatMul", by_channel, cells), size))
    else:
        left = _first_eigenvector(graph, graph.add("MatMul", cells, by_channel), size)
        projected = graph.add("Mul", left, _norm(graph, graph.add("MatMul", by_channel, left)))
    is_negative = graph.add("Less", graph.add("ReduceSum", projected, np.array([1]), keepdims=1), np.float32(0))
    signed = graph.add("Where", is_negative, graph.add("Neg", projected), projected)
    return graph.add("Reshape", signed, np.array([-1, height, width]))


def _first_eigenvector(graph: Graph, matrix: str, size: int) -> str:
    """Add the eigenvector of the largest eigenvalue of positive semidefinite matrices, of length 1, [n m 1]."""
    power = graph.repeat(NUM_SQUARINGS, _divided(graph, matrix), _divided_square)
    largest = graph.add("ArgMax", graph.add("ReduceSumSquare", power, np.array([1]), keepdims=0), axis=1, keepdims=1)
    is_chosen = graph.add("Cast", graph.add("Equal", largest, np.arange(size)), to=TensorProto.FLOAT)
    column = graph.add("MatMul", power, graph.add("Unsqueeze", is_chosen, np.array([2])))
    return graph.add("Div", column, graph.add("Max", _norm(graph, column), TINY))


def _divided_square(graph: Graph, matrix: str) -> str:
    return _divided(graph, graph.add("MatMul", matrix, matrix))


def _divided(graph: Graph, matrix: str) -> str:
    norm = graph.add("ReduceL2", matrix, np.array([1, 2]), keepdims=1)
    return graph.add("Div", matrix, graph.add("Max", norm, TINY))


def _norm(graph: Graph, columns: str) -> str:
    return graph.add("ReduceL2", columns, np.array([1]), keepdims=1)
