"""The graph of a whole model: from a picture to the resized picture, logits, probabilities, features and map."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from onnx import TensorProto

from firstlight.errors import UsageError
from firstlight.export.onnx import layer_translations  # noqa: F401  # registers the translations
from firstlight.export.onnx.graph import Graph
from firstlight.export.onnx.maps_graph import explain_stages
from firstlight.export.onnx.resample import fit
from firstlight.export.onnx.translation import VJP, Maps, chain, translate
from firstlight.export.onnx.weight_formats import WeightFormat
from firstlight.networks.staged import StagedNetwork, keeps_methods
from firstlight.runs.predictor import Predictor

IMAGE, TARGET, METHOD, STAGE = "image", "target", "method", "stage"  # the inputs
PREPARED, LOGITS, PROBABILITIES = "prepared", "logits", "probabilities"
FEATURES, MAP, IS_NOVEL = "features", "map", "is_novel"


@dataclass(frozen=True)
class TranslatedNetwork:
    """A network that was added to a graph: the names of its values, and the VJPs of its stages.

    Args:
        stages: Output of each stage, by its name, in forward order.
        vjps: For each stage, the VJP from the gradient of the next stage's output to the gradient of its own output.
            That of the last stage starts from the gradient of the features. None if a layer on this path has no VJP.
        features: Name of the input of the head, float [n f].
        logits: Name of the logits, float [n k].
        head_weight: Name of the weights of the head, float [k f].
    """

    stages: dict[str, Maps]
    vjps: Sequence[VJP | None]
    features: str
    logits: str
    head_weight: str


def build_graph(model: Predictor, weights: WeightFormat) -> tuple[Graph, tuple[str, ...]]:
    """Return the graph of a model, and the names of the stages for which it has maps, in forward order.

    Raises:
        UsageError: The network contains a layer that has no translation, or computes its logits in another way than
            `StagedNetwork`.
    """
    graph = Graph()
    pixels = fit(graph, IMAGE, model.size_px)
    graph.name(graph.add("Transpose", pixels, perm=[0, 2, 3, 1]), PREPARED)
    unit = graph.add("Div", graph.add("Cast", pixels, to=TensorProto.FLOAT), np.float32(255))
    found = translate_network(graph, model.network, Maps(unit, (1, 3, *model.size_px)), weights)
    graph.name(found.logits, LOGITS)
    graph.name(found.features, FEATURES)
    scaled = graph.add("Div", found.logits, np.float32(model.temperature))
    graph.name(graph.add("Softmax", scaled, axis=1), PROBABILITIES)
    if model.novelty_threshold is not None:
        energy = graph.add("Neg", graph.add("ReduceLogSumExp", found.logits, np.array([1]), keepdims=0))
        graph.name(graph.add("Greater", energy, np.float32(model.novelty_threshold)), IS_NOVEL)
    names = explainable_stages(found)
    chosen = {name: found.stages[name] for name in names}
    vjps = found.vjps[len(found.vjps) - len(names) :]
    gradient = _feature_gradient(graph, found)
    graph.name(explain_stages(graph, chosen, vjps, gradient, METHOD, STAGE, model.size_px), MAP)
    return graph, names


def translate_network(graph: Graph, network: StagedNetwork, images: Maps, weights: WeightFormat) -> TranslatedNetwork:
    """Add the operations of a network, from RGB in [0, 1] to logits.

    Raises:
        UsageError: See `build_graph`.
    """
    if not keeps_methods(network, "maps", "pool_features", "features", "forward"):
        raise UsageError(
            f"--to onnx cannot translate {type(network).__name__}, which overrides forward, features, pool_features or "
            "maps: put these operations into stages and layers of their own"
        )
    maps, _ = translate(graph, network.normalize, images, weights)
    stages: dict[str, Maps] = {}
    vjps: list[VJP | None] = []
    for name in network.stages:
        maps, vjp = translate(graph, network.get_submodule(name), maps, weights)
        stages[name] = maps
        vjps.append(vjp)
    features, pool_vjp = _pool(graph, network, maps, weights)
    head_weight = weights.weight(graph, network.head)
    bias = [] if network.head.bias is None else [network.head.bias.detach().numpy()]
    logits = graph.add("Gemm", features, head_weight, *bias, transB=1)
    return TranslatedNetwork(stages, [*vjps[1:], pool_vjp], features, logits, head_weight)


def explainable_stages(found: TranslatedNetwork) -> tuple[str, ...]:
    """Return the names of the stages that can be explained, because all layers after them have a VJP, in forward order.

    Raises:
        UsageError: The pooling layer has no VJP.
    """
    names = [name for index, name in enumerate(found.stages) if chain(found.vjps[index:]) is not None]
    if not names:
        raise UsageError(
            "--to onnx cannot explain this network: end it in AdaptiveMaxPool2d(1) or AdaptiveAvgPool2d(1)"
        )
    return tuple(names)


def _pool(graph: Graph, network: StagedNetwork, maps: Maps, weights: WeightFormat) -> tuple[str, VJP | None]:
    """Add the operations from the last maps to the features, float [n f]."""
    pooled, vjp = translate(graph, network.pool, maps, weights)
    features, scale = graph.add("Flatten", pooled.name, axis=1), np.float32(network.head_scale)
    if network.head_scale != 1:
        features = graph.add("Mul", features, scale)
    if vjp is None:
        return features, None

    def pool_vjp(graph: Graph, gradient: str) -> str:
        grad_pooled = graph.add("Reshape", gradient, np.array([-1, *pooled.shape[1:]]))
        return vjp(graph, grad_pooled if network.head_scale == 1 else graph.add("Mul", grad_pooled, scale))

    return features, pool_vjp


def _feature_gradient(graph: Graph, found: TranslatedNetwork) -> str:
    """Return the gradient of the target class's logit with respect to the features: a row of the head, float [n f]."""
    predicted = graph.add("ArgMax", found.logits, axis=1, keepdims=0)
    classes = graph.add("Where", graph.add("Less", TARGET, np.int64(0)), predicted, TARGET)
    return graph.add("Gather", found.head_weight, classes, axis=0)
