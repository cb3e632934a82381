"""The registry of translations: each class of layers becomes ONNX operations, for the output and for its gradient.

A translation adds the operations of a layer to a graph. It returns the name of the output and the vector-Jacobian
product (VJP) of the layer: a function that adds the operations which compute the gradient of the input from the
gradient of the output. The graph needs these operations, because ONNX has no automatic differentiation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, TypeVar

import torch
from torch import nn

from firstlight.errors import UsageError
from firstlight.export.onnx.graph import Graph
from firstlight.export.onnx.weight_formats import WeightFormat


class Maps(NamedTuple):
    """A value of the graph, and its shape for one image.

    Args:
        name: Name of the value, float [n c h w].
        shape: (1, c, h, w).
    """

    name: str
    shape: tuple[int, ...]


# Takes the name of the gradient of the output, adds the operations, returns the name of the gradient of the input.
VJP = Callable[[Graph, str], str]


class Translated(NamedTuple):
    """The translation of a layer.

    Args:
        output: Name of the output.
        vjp: The VJP; None if the translation has none. No stage before such a layer can be explained.
    """

    output: str
    vjp: VJP | None


# Arguments: graph, layer, input, format of the weights.
Translation = Callable[[Graph, Any, Maps, WeightFormat], Translated]
TRANSLATIONS: dict[type[nn.Module], Translation] = {}
_TranslationT = TypeVar("_TranslationT", bound=Translation)


def translates(*layer_classes: type[nn.Module]) -> Callable[[_TranslationT], _TranslationT]:
    """Register a translation for layers of these classes, and of subclasses that inherit their `forward`."""

    def register(translation: _TranslationT) -> _TranslationT:
        TRANSLATIONS.update(dict.fromkeys(layer_classes, translation))
        return translation

    return register


def translate(graph: Graph, layer: nn.Module, maps: Maps, weights: WeightFormat) -> tuple[Maps, VJP | None]:
    """Add the operations of a layer, and return its output and its VJP.

    Raises:
        UsageError: The layer's class has no translation.
    """
    output, vjp = _translation_of(layer)(graph, layer, maps, weights)
    with torch.inference_mode():
        shape = tuple(layer(torch.zeros(maps.shape)).shape)
    return Maps(output, shape), vjp


def translate_all(
    graph: Graph, layers: Iterable[nn.Module], maps: Maps, weights: WeightFormat
) -> tuple[Maps, VJP | None]:
    """Add the operations of consecutive layers, and return the last output and the VJP of all."""
    vjps: list[VJP | None] = []
    for layer in layers:
        maps, vjp = translate(graph, layer, maps, weights)
        vjps.append(vjp)
    return maps, chain(vjps)


def chain(vjps: Sequence[VJP | None]) -> VJP | None:
    """Return the VJP of consecutive layers; None if one of the layers has no VJP."""
    known = [vjp for vjp in vjps if vjp is not None]
    if len(known) < len(vjps):
        return None

    def chained(graph: Graph, gradient: str) -> str:
        for vjp in reversed(known):
            gradient = vjp(graph, gradient)
        return gradient

    return chained


def refuse(layer: nn.Module, detail: str = "") -> UsageError:
    """Return the error for a layer that cannot be translated."""
    kind = f"{type(layer).__module__}:{type(layer).__qualname__}"
    known = ", ".join(sorted({each.__name__ for each in TRANSLATIONS}))
    return UsageError(
        f"--to onnx cannot translate the layer {kind}{detail}: build the network from {known}, or register a "
        "translation with firstlight.export.onnx.translation.translates"
    )


def _translation_of(layer: nn.Module) -> Translation:
    for kind in type(layer).__mro__:
        if kind in TRANSLATIONS:
            return TRANSLATIONS[kind]
        if "forward" in vars(kind):
            break
    raise refuse(layer)
