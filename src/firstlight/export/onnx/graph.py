"""Graph: the nodes and constants of an ONNX graph under construction."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

OPSET = 20  # the first with Gelu; the browser demo runs it with ONNX Runtime Web 1.30
IR_VERSION = 9  # version of the file format that belongs to this opset

Operand = str | np.ndarray | np.generic  # the name of a value, or a constant


class Graph:
    """The nodes of a graph in the order of computation, and the constants that they share.

    As in ONNX, nodes refer to each other's outputs by name. The methods therefore take and return names of values.

    >>> graph = Graph()
    >>> graph.add("Mul", "x", np.float32(2))
    'Mul_1'
    >>> [node.op_type for node in graph.nodes], list(graph.constants)
    (['Mul'], ['constant_0'])
    """

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, onnx.TensorProto] = {}
        self._names: dict[tuple[Any, ...], str] = {}  # name of each constant by its dtype, shape and bytes
        self._numbers = itertools.count()

    def branch(self) -> Graph:
        """Return an empty graph for a branch of `choose`. Its nodes can use all values that this graph has so far."""
        branch = Graph()
        branch.constants, branch._names, branch._numbers = self.constants, self._names, self._numbers
        return branch

    def add(self, operator: str, *operands: Operand, **attributes: Any) -> str:
        """Add a node with one output, and return the name of the output."""
        return self.add_node(operator, operands, 1, **attributes)[0]

    def add_node(self, operator: str, operands: Sequence[Operand], count: int, /, **attributes: Any) -> list[str]:
        """Add a node, and return the names of its `count` outputs."""
        inputs = [each if isinstance(each, str) else self.constant(each) for each in operands]
        number = next(self._numbers)
        outputs = [f"{operator}_{number}" + (f"_{index}" if index else "") for index in range(count)]
        self.nodes.append(helper.make_node(operator, inputs, outputs, name=outputs[0], **attributes))
        return outputs

    def name(self, value: str, name: str) -> None:
        """Make a value an output of the model under the given name."""
        self.nodes.append(helper.make_node("Identity", [value], [name], name=f"output_{name}"))

    def constant(self, value: np.ndarray | np.generic) -> str:
        """Store a constant, unless an equal one is stored already, and return its name."""
        array = np.ascontiguousarray(value).reshape(np.shape(value))
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._names:
            name = f"constant_{next(self._numbers)}"
            self._names[key] = name
            self.constants[name] = numpy_helper.from_array(array, name)
        return self._names[key]

    def choose(self, condition: str, then: Graph, then_value: str, otherwise: Graph, other_value: str) -> str:
        """Return the value of one of two branches of this graph; only the chosen branch is computed."""
        then_graph, other_graph = then._as_branch(then_value), otherwise._as_branch(other_value)
        return self.add("If", condition, then_branch=then_graph, else_branch=other_graph)

    def repeat(self, count: int, value: str, step: Callable[[Graph, str], str]) -> str:
        """Return a float value after `count` steps; the model contains the operations of a step once."""
        body = self.branch()
        number = next(self._numbers)
        iteration, goes_on, now = (f"{name}_{number}" for name in ("iteration", "goes_on", "now"))
        after = step(body, now)
        still = body.add("Identity", goes_on)
        info, float_type = helper.make_tensor_value_info, onnx.TensorProto.FLOAT
        inputs = [info(iteration, onnx.TensorProto.INT64, []), info(goes_on, onnx.TensorProto.BOOL, [])]
        inputs.append(info(now, float_type, None))
        outputs = [info(still, onnx.TensorProto.BOOL, []), info(after, float_type, None)]
        return self.add(
            "Loop", np.int64(count), "", value, body=helper.make_graph(body.nodes, f"step_{number}", inputs, outputs)
        )

    def _as_branch(self, value: str) -> onnx.GraphProto:
        output = helper.make_tensor_value_info(value, onnx.TensorProto.FLOAT, None)
        return helper.make_graph(self.nodes, f"branch_{value}", [], [output])
