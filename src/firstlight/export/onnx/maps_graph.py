"""Class activation maps as ONNX operations. The method and the stage are inputs of the model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from firstlight.attribution.xgrad_cam import SMALL
from firstlight.export.onnx.eigen_map import eigen_cam
from firstlight.export.onnx.graph import Graph
from firstlight.export.onnx.translation import VJP, Maps

# Arguments: graph, activations, name of the gradients [n c h w]. Returns the map, [n 1 h w].
Method = Callable[[Graph, Maps, str], str]

_CELLS = np.array([2, 3])  # the axes of the cells


def _grad_cam(graph: Graph, activations: Maps, gradients: str) -> str:
    return _weighted(graph, graph.add("ReduceMean", gradients, _CELLS, keepdims=1), activations)


def _grad_cam_pp(graph: Graph, activations: Maps, gradients: str) -> str:
    positive = graph.add("Relu", gradients)
    total = graph.add("Relu", graph.add("ReduceSum", activations.name, _CELLS, keepdims=1))
    below = graph.add("Add", graph.add("Mul", total, positive), np.float32(2))
    return _weighted(graph, graph.add("ReduceSum", graph.add("Div", positive, below), _CELLS, keepdims=1), activations)


def _hires_cam(graph: Graph, activations: Maps, gradients: str) -> str:
    return _weighted(graph, gradients, activations)


def _layer_cam(graph: Graph, activations: Maps, gradients: str) -> str:
    return _weighted(graph, graph.add("Relu", gradients), activations)


def _xgrad_cam(graph: Graph, activations: Maps, gradients: str) -> str:
    total = graph.add("ReduceSum", activations.name, _CELLS, keepdims=1)
    is_large = graph.add("Greater", graph.add("Abs", total), np.float32(SMALL))
    safe = graph.add("Where", is_large, total, np.float32(np.inf))
    products = graph.add("Mul", gradients, activations.name)
    return _weighted(graph, graph.add("Div", graph.add("ReduceSum", products, _CELLS, keepdims=1), safe), activations)


def _weighted(graph: Graph, weights: str, activations: Maps) -> str:
    """Add the sum of the channels, times weights of each channel or of each cell."""
    return graph.add("ReduceSum", graph.add("Mul", weights, activations.name), np.array([1]), keepdims=1)


QUICK: dict[str, Method] = {
    "grad_cam": _grad_cam,
    "grad_cam_pp": _grad_cam_pp,
    "hires_cam": _hires_cam,
    "layer_cam": _layer_cam,
    "xgrad_cam": _xgrad_cam,
}
"""The methods whose maps cost little compared with the network; see `METHODS`."""

METHODS = (*QUICK, "eigen_cam")
"""The methods by their names in `firstlight.attribution`, which gives their formulas."""


def explain_stages(
    graph: Graph,
    stages: Mapping[str, Maps],
    vjps: Sequence[VJP | None],
    feature_gradient: str,
    method: str,
    stage: str,
    size_px: tuple[int, int],
) -> str:
    """Add the map of the stage that an input of the model selects. The backward pass ends at this stage.

    Args:
        graph: Graph to add to.
        stages: Output of each stage, in forward order.
        vjps: For each stage, the VJP from the gradient of the next stage's output to the gradient of its own output.
            That of the last stage starts from the gradient of the features.
        feature_gradient: Name of the gradient of the score with respect to the features, float [n f].
        method: Name of the index into `METHODS`, an int64 scalar; a negative one counts from the end.
        stage: Name of the index into `stages`, an int64 scalar. A negative one counts from the end, and the number of
            stages selects the fused map of all of them.
        size_px: Height and width of the fused map.

    Returns:
        Name of the map, float [n h w], signed, in units of the logit; a fused map is within [-1, 1].
    """
    method = _from_start(graph, method, len(METHODS), len(METHODS))
    stage = _from_start(graph, stage, len(stages), len(stages) + 1)
    is_fused = graph.add("Equal", stage, np.int64(len(stages)))
    first = graph.add("Where", is_fused, np.int64(0), stage)  # the backward pass ends here
    activations, gradient = list(stages.values()), feature_gradient
    maps: list[str] = []
    for index in reversed(range(len(stages))):
        is_needed = graph.add("LessOrEqual", first, np.int64(index))
        gradient = _on_demand(graph, is_needed, _step(vjps[index], gradient), rank=4)
        is_shown = graph.add("Or", is_fused, graph.add("Equal", stage, np.int64(index)))
        maps.insert(0, _on_demand(graph, is_shown, _chosen_map(activations[index], gradient, method), rank=3))
    single, fused = graph.branch(), graph.branch()
    map_of_all = _fuse(fused, maps, [each.shape[2:] for each in activations], size_px)
    return graph.choose(is_fused, fused, map_of_all, single, _pick(single, maps, stage))


def _on_demand(graph: Graph, condition: str, add_value: Callable[[Graph], str], rank: int) -> str:
    """Add operations that are computed only if a condition holds; else their value is a zero of the same rank."""
    then, otherwise = graph.branch(), graph.branch()
    nothing = otherwise.add("Identity", np.zeros([1] * rank, np.float32))
    return graph.choose(condition, then, add_value(then), otherwise, nothing)


def _step(vjp: VJP | None, gradient: str) -> Callable[[Graph], str]:
    assert vjp is not None
    return lambda graph: vjp(graph, gradient)


def _chosen_map(activations: Maps, gradients: str, method: str) -> Callable[[Graph], str]:
    """Return a function that adds the maps of all methods and selects one. Eigen-CAM, which is slow, has a branch."""

    def add(graph: Graph) -> str:
        quick, slow = graph.branch(), graph.branch()
        maps = [each(quick, activations, gradients) for each in QUICK.values()]
        chosen = quick.add("Gather", quick.add("Concat", *maps, axis=1), method, axis=1)
        is_quick = graph.add("Less", method, np.int64(len(QUICK)))
        return graph.choose(is_quick, quick, chosen, slow, eigen_cam(slow, activations))

    return add


def _pick(graph: Graph, maps: Sequence[str], stage: str) -> str:
    """Add the map of one stage."""
    if len(maps) == 1:
        return graph.add("Identity", maps[0])
    last, earlier = graph.branch(), graph.branch()
    is_last = graph.add("Equal", stage, np.int64(len(maps) - 1))
    return graph.choose(is_last, last, last.add("Identity", maps[-1]), earlier, _pick(earlier, maps[:-1], stage))


def _fuse(graph: Graph, maps: Sequence[str], sizes: Sequence[tuple[int, ...]], size_px: tuple[int, int]) -> str:
    """Add the mean of the maps at one size, each divided by its largest absolute value.

    See `firstlight.attribution.fusion.fuse`.
    """
    scaled = []
    for each, size in zip(maps, sizes, strict=True):
        largest = graph.add("ReduceMax", graph.add("Abs", each), np.array([1, 2]), keepdims=1)
        is_positive = graph.add("Greater", largest, np.float32(0))
        divided = graph.add("Div", each, graph.add("Where", is_positive, largest, np.float32(1)))
        scaled.append(_resize(graph, divided, size, size_px))
    return graph.add("Div", graph.add("Sum", *scaled), np.float32(len(scaled)))


def _resize(graph: Graph, maps: str, now: Sequence[int], size_px: tuple[int, int]) -> str:
    """Enlarge maps bilinearly, as `firstlight.attribution.maps.upsample` does."""
    scales = np.array([1, 1, size_px[0] / now[0], size_px[1] / now[1]], np.float32)
    channel = np.array([1])
    resized = graph.add("Resize", graph.add("Unsqueeze", maps, channel), "", scales, mode="linear")
    return graph.add("Squeeze", resized, channel)


def _from_start(graph: Graph, index: str, length: int, num_choices: int) -> str:
    """Add an index that counts from the start. Running the model fails if it is `num_choices` or more."""
    from_end = graph.add("Add", index, np.int64(length))
    found = graph.add("Where", graph.add("Less", index, np.int64(0)), from_end, index)
    return graph.add("Gather", np.arange(num_choices), found)
