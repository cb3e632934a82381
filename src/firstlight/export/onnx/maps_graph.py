"""Class activation maps as ONNX operations. The method and the stage are inputs of the model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from firstlight.export.onnx.graph import Graph
from firstlight.export.onnx.translation import VJP, Maps

# Arguments: graph, activations [n c h w], gradients [n c h w]. Returns the map, [n h w].
Method = Callable[[Graph, str, str], str]


def _grad_cam(graph: Graph, activations: str, gradients: str) -> str:
    weights = graph.add("ReduceMean", gradients, np.array([2, 3]), keepdims=1)
    return _sum(graph, graph.add("Mul", weights, activations))


def _hires_cam(graph: Graph, activations: str, gradients: str) -> str:
    return _sum(graph, graph.add("Mul", gradients, activations))


def _layer_cam(graph: Graph, activations: str, gradients: str) -> str:
    return _hires_cam(graph, activations, graph.add("Relu", gradients))


def _sum(graph: Graph, products: str) -> str:
    return graph.add("ReduceSum", products, np.array([1]), keepdims=0)


METHODS: dict[str, Method] = {"grad_cam": _grad_cam, "hires_cam": _hires_cam, "layer_cam": _layer_cam}
"""The methods by their names in `firstlight.attribution`, which gives their formulas."""


def explain_stages(
    graph: Graph,
    stages: Mapping[str, Maps],
    vjps: Sequence[VJP | None],
    feature_gradient: str,
    method: str,
    stage: str,
) -> str:
    """Add the map of the stage that an input of the model selects. The backward pass ends at this stage.

    Args:
        graph: Graph to add to.
        stages: Output of each stage, in forward order.
        vjps: For each stage, the VJP from the gradient of the next stage's output to the gradient of its own output.
            That of the last stage starts from the gradient of the features.
        feature_gradient: Name of the gradient of the score with respect to the features, float [n f].
        method: Name of the index into `METHODS`, an int64 scalar; a negative one counts from the end.
        stage: Name of the index into `stages`, an int64 scalar; a negative one counts from the end.

    Returns:
        Name of the map, float [n h w], signed, in units of the logit.
    """
    method, stage = _from_start(graph, method, len(METHODS)), _from_start(graph, stage, len(stages))
    activations = [maps.name for maps in stages.values()]

    def explain(graph: Graph, gradient: str, index: int) -> str:
        """Add the map of stage `index` or, if the input selects one, of an earlier stage.

        `gradient` is that of the next stage's output, or of the features if there is no next stage.
        """
        vjp = vjps[index]
        assert vjp is not None
        gradient = vjp(graph, gradient)
        if index == 0:
            return _map(graph, activations[0], gradient, method)
        here, before = graph.branch(), graph.branch()
        is_here = graph.add("Equal", stage, np.int64(index))
        map_here = _map(here, activations[index], gradient, method)
        return graph.choose(is_here, here, map_here, before, explain(before, gradient, index - 1))

    return explain(graph, feature_gradient, len(activations) - 1)


def _map(graph: Graph, activations: str, gradients: str, method: str) -> str:
    """Add the maps of all methods, and select one. The maps cost little compared with the network."""
    maps = [graph.add("Unsqueeze", each(graph, activations, gradients), np.array([0])) for each in METHODS.values()]
    return graph.add("Gather", graph.add("Concat", *maps, axis=0), method, axis=0)


def _from_start(graph: Graph, index: str, length: int) -> str:
    from_end = graph.add("Add", index, np.int64(length))
    return graph.add("Where", graph.add("Less", index, np.int64(0)), from_end, index)
