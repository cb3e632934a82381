"""Translations of the layers that the networks use: output and gradient as ONNX operations."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from torch import nn

from firstlight.export.onnx.graph import Graph
from firstlight.export.onnx.translation import VJP, Maps, Translated, refuse, translate, translate_all, translates
from firstlight.export.onnx.weight_formats import WeightFormat
from firstlight.layers.batch_norm import BatchNorm
from firstlight.layers.conv3x3 import Conv3x3
from firstlight.layers.gelu import Gelu
from firstlight.layers.max_pool import MaxPool2x2
from firstlight.layers.normalize import Normalize
from firstlight.layers.residual import Residual


@translates(nn.Identity, nn.Dropout, nn.Dropout2d)
def _(graph: Graph, layer: nn.Module, maps: Maps, weights: WeightFormat) -> Translated:  # noqa: ARG001
    return Translated(maps.name, lambda _, gradient: gradient)


@translates(nn.Sequential)
def _(graph: Graph, layer: nn.Sequential, maps: Maps, weights: WeightFormat) -> Translated:
    output, vjp = translate_all(graph, layer, maps, weights)
    return Translated(output.name, vjp)


@translates(Residual)
def _(graph: Graph, layer: Residual, maps: Maps, weights: WeightFormat) -> Translated:
    branch, branch_vjp = translate(graph, layer.branch, maps, weights)
    output = graph.add("Add", maps.name, branch.name)
    if branch_vjp is None:
        return Translated(output, None)
    return Translated(output, lambda graph, gradient: graph.add("Add", gradient, branch_vjp(graph, gradient)))


@translates(Normalize)
def _(graph: Graph, layer: Normalize, maps: Maps, weights: WeightFormat) -> Translated:  # noqa: ARG001
    mean, std = layer.mean.numpy(), layer.std.numpy()
    output = graph.add("Div", graph.add("Sub", maps.name, mean), std)
    return Translated(output, lambda graph, gradient: graph.add("Div", gradient, std))


@translates(nn.Conv2d, Conv3x3)
def _(graph: Graph, layer: nn.Conv2d, maps: Maps, weights: WeightFormat) -> Translated:
    if layer.padding_mode != "zeros" or isinstance(layer.padding, str):
        raise refuse(layer, f" with padding {layer.padding!r}, {layer.padding_mode}")
    weight = weights.weight(graph, layer)
    window: dict[str, Any] = {
        "kernel_shape": list(layer.kernel_size),
        "strides": list(layer.stride),
        "pads": [*layer.padding, *layer.padding],
        "dilations": list(layer.dilation),
        "group": layer.groups,
    }
    operands = [weights.maps(graph, maps.name, layer, "input"), weight]
    output = graph.add("Conv", *operands, *([] if layer.bias is None else [layer.bias.detach().numpy()]), **window)
    # Rows and columns at the end that no window covers, because the stride does not divide the size.
    unreached = [
        (side + 2 * pad - dilation * (kernel - 1) - 1) % stride
        for side, pad, dilation, kernel, stride in zip(
            maps.shape[2:], layer.padding, layer.dilation, layer.kernel_size, layer.stride, strict=True
        )
    ]

    def vjp(graph: Graph, gradient: str) -> str:
        return graph.add("ConvTranspose", gradient, weight, output_padding=unreached, **window)

    return Translated(weights.maps(graph, output, layer, "output"), vjp)


@translates(nn.BatchNorm2d, BatchNorm)
def _(graph: Graph, layer: nn.BatchNorm2d, maps: Maps, weights: WeightFormat) -> Translated:  # noqa: ARG001
    if layer.running_mean is None or layer.running_var is None:
        raise refuse(layer, " without running statistics")
    mean, variance = layer.running_mean.numpy(), layer.running_var.numpy()
    scale = np.ones_like(mean) if layer.weight is None else layer.weight.detach().numpy()
    shift = np.zeros_like(mean) if layer.bias is None else layer.bias.detach().numpy()
    output = graph.add("BatchNormalization", maps.name, scale, shift, mean, variance, epsilon=layer.eps)
    slopes = (scale / np.sqrt(variance + np.float32(layer.eps))).reshape(1, -1, 1, 1)
    return Translated(output, lambda graph, gradient: graph.add("Mul", gradient, slopes))


@translates(nn.ReLU)
def _(graph: Graph, layer: nn.ReLU, maps: Maps, weights: WeightFormat) -> Translated:  # noqa: ARG001
    output = graph.add("Relu", maps.name)

    def vjp(graph: Graph, gradient: str) -> str:
        return graph.add("Where", graph.add("Greater", output, np.float32(0)), gradient, np.float32(0))

    return Translated(output, vjp)


@translates(nn.GELU, Gelu)
def _(graph: Graph, layer: nn.GELU, maps: Maps, weights: WeightFormat) -> Translated:  # noqa: ARG001
    if layer.approximate != "none":
        raise refuse(layer, f" with approximate={layer.approximate!r}")
    x = maps.name

    def vjp(graph: Graph, gradient: str) -> str:
        """Multiply by the slopes, P(X <= x) + x p(x) for a standard normal X."""
        erf = graph.add("Erf", graph.add("Mul", x, np.float32(1 / math.sqrt(2))))
        below = graph.add("Mul", graph.add("Add", erf, np.float32(1)), np.float32(0.5))
        exponents = graph.add("Mul", graph.add("Mul", x, x), np.float32(-0.5))
        density = graph.add("Mul", graph.add("Exp", exponents), np.float32(1 / math.sqrt(2 * math.pi)))
        return graph.add("Mul", gradient, graph.add("Add", below, graph.add("Mul", x, density)))

    return Translated(graph.add("Gelu", x), vjp)


@translates(nn.SiLU)
def _(graph: Graph, layer: nn.SiLU, maps: Maps, weights: WeightFormat) -> Translated:  # noqa: ARG001
    x, sigmoid = maps.name, graph.add("Sigmoid", maps.name)
    output = graph.add("Mul", x, sigmoid)

    def vjp(graph: Graph, gradient: str) -> str:
        """Multiply by the slopes, s + x s (1 - s) = s + y (1 - s) for y = x s."""
        rest = graph.add("Sub", np.float32(1), sigmoid)
        return graph.add("Mul", gradient, graph.add("Add", sigmoid, graph.add("Mul", output, rest)))

    return Translated(output, vjp)


@translates(nn.ZeroPad2d)
def _(graph: Graph, layer: nn.ZeroPad2d, maps: Maps, weights: WeightFormat) -> Translated:  # noqa: ARG001
    left, right, top, bottom = layer.padding
    if min(layer.padding) < 0:
        raise refuse(layer, f" with padding {layer.padding}")
    output = graph.add("Pad", maps.name, np.array([0, 0, top, left, 0, 0, bottom, right]))
    height, width = maps.shape[2:]

    def vjp(graph: Graph, gradient: str) -> str:
        return graph.add(
            "Slice", gradient, np.array([top, left]), np.array([top + height, left + width]), np.array([2, 3])
        )

    return Translated(output, vjp)


@translates(nn.MaxPool2d, MaxPool2x2)
def _(graph: Graph, layer: nn.MaxPool2d, maps: Maps, weights: WeightFormat) -> Translated:  # noqa: ARG001
    padding = _pair(layer.padding)
    window: dict[str, Any] = {
        "kernel_shape": _pair(layer.kernel_size),
        "strides": _pair(layer.stride),
        "pads": padding + padding,
        "dilations": _pair(layer.dilation),
        "ceil_mode": int(layer.ceil_mode),
    }
    return Translated(graph.add("MaxPool", maps.name, **window), _max_pool_vjp(maps, window))


def _max_pool_vjp(maps: Maps, window: dict[str, Any]) -> VJP:
    """Return the VJP that adds each gradient to the first maximum of its window."""

    def vjp(graph: Graph, gradient: str) -> str:
        # Pools once more with indices, only if a gradient is needed: the forward pass is faster without indices.
        _, indices = graph.add_node("MaxPool", [maps.name], 2, **window)  # indices into the flat maps of all images
        shape, flat = graph.add("Shape", maps.name), np.array([-1])
        zeros = graph.add("Expand", np.float32(0), graph.add("ReduceProd", shape, keepdims=1))
        indices_and_gradient = [graph.add("Reshape", each, flat) for each in (indices, gradient)]
        return graph.add("Reshape", graph.add("ScatterElements", zeros, *indices_and_gradient, reduction="add"), shape)

    return vjp


@translates(nn.AdaptiveMaxPool2d)
def _(graph: Graph, layer: nn.AdaptiveMaxPool2d, maps: Maps, weights: WeightFormat) -> Translated:  # noqa: ARG001
    _refuse_other_sizes(layer)
    whole = {"kernel_shape": list(maps.shape[2:])}
    return Translated(graph.add("MaxPool", maps.name, **whole), _max_pool_vjp(maps, whole))


@translates(nn.AdaptiveAvgPool2d)
def _(graph: Graph, layer: nn.AdaptiveAvgPool2d, maps: Maps, weights: WeightFormat) -> Translated:  # noqa: ARG001
    _refuse_other_sizes(layer)
    height, width = maps.shape[2:]

    def vjp(graph: Graph, gradient: str) -> str:
        share = graph.add("Div", gradient, np.float32(height * width))
        return graph.add("Expand", share, np.array([1, 1, height, width]))

    return Translated(graph.add("GlobalAveragePool", maps.name), vjp)


@translates(nn.AvgPool2d)
def _(graph: Graph, layer: nn.AvgPool2d, maps: Maps, weights: WeightFormat) -> Translated:  # noqa: ARG001
    if layer.divisor_override is not None:
        raise refuse(layer, " with divisor_override")
    padding = _pair(layer.padding)
    output = graph.add(
        "AveragePool",
        maps.name,
        kernel_shape=_pair(layer.kernel_size),
        strides=_pair(layer.stride),
        pads=padding + padding,
        ceil_mode=int(layer.ceil_mode),
        count_include_pad=int(layer.count_include_pad),
    )
    return Translated(output, None)


def _refuse_other_sizes(layer: nn.AdaptiveMaxPool2d | nn.AdaptiveAvgPool2d) -> None:
    if layer.output_size not in (1, (1, 1)):
        raise refuse(layer, f" to {layer.output_size}")


def _pair(value: int | tuple[int, ...]) -> list[int]:
    return [value, value] if isinstance(value, int) else list(value)
