"""Formats in which a model file stores the weights of convolutions and of the head: float32, float16 or int8.

A graph computes in float32 with all formats. With int8, ONNX Runtime replaces each convolution whose input, output and
weights are quantized by a convolution of integers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

import numpy as np
from onnx import TensorProto
from torch import Tensor, nn

from firstlight.export.onnx.graph import Graph

WeightsName = Literal["float32", "float16", "int8"]
MAX_LEVEL = 127  # largest absolute value of a quantized weight
# Weights are stored with an offset as uint8. On x86 without VNNI, the sums of ONNX Runtime's product of uint8 and int8
# saturate at 16 bits, which cost five points of accuracy; its product of uint8 and uint8 is exact everywhere.
ZERO_LEVEL = 128


class Range(NamedTuple):
    """The smallest and the largest value of maps. A range includes zero, so that zero padding is exact."""

    low: float
    high: float


class WeightFormat:
    """Weights as they are, in float32."""

    def weight(self, graph: Graph, layer: nn.Conv2d | nn.Linear) -> str:
        """Store the weights of a layer, and return the name of their value in float32."""
        return graph.constant(_array(layer.weight))

    def maps(self, graph: Graph, maps: str, layer: nn.Conv2d, side: Literal["input", "output"]) -> str:  # noqa: ARG002
        """Return the name of a convolution's input or output, rounded as the format requires."""
        return maps


class HalfWeights(WeightFormat):
    """Weights in float16, which a session converts to float32 once, when it is created."""

    def weight(self, graph: Graph, layer: nn.Conv2d | nn.Linear) -> str:
        """Store the weights of a layer, and return the name of their value in float32."""
        return graph.add("Cast", _array(layer.weight).astype(np.float16), to=TensorProto.FLOAT)


class QuantizedWeights(WeightFormat):
    """Weights of convolutions in 8 bits, one scale for each filter; maps in 8 bits, by ranges measured beforehand.

    The head stays in float32, because it is small.

    Args:
        ranges: Range of the input and of the output of each convolution.
    """

    def __init__(self, ranges: Mapping[nn.Module, Mapping[str, Range]]) -> None:
        self.ranges = ranges

    def weight(self, graph: Graph, layer: nn.Conv2d | nn.Linear) -> str:
        """Store the weights of a layer, and return the name of their value in float32."""
        weight = _array(layer.weight)
        if isinstance(layer, nn.Linear):
            return graph.constant(weight)
        scales = np.abs(weight).reshape(len(weight), -1).max(axis=1) / MAX_LEVEL
        scales = np.where(scales > 0, scales, 1).astype(np.float32)
        levels = (np.round(weight / scales.reshape(-1, 1, 1, 1)) + ZERO_LEVEL).astype(np.uint8)
        return graph.add("DequantizeLinear", levels, scales, np.full(len(scales), ZERO_LEVEL, np.uint8), axis=0)

    def maps(self, graph: Graph, maps: str, layer: nn.Conv2d, side: Literal["input", "output"]) -> str:
        """Return the name of a convolution's input or output, rounded to 256 levels within its range."""
        low, high = self.ranges[layer][side]
        scale = np.float32((high - low) / 255 or 1)
        zero = np.uint8(np.clip(round(-low / float(scale)), 0, 255))
        return graph.add("DequantizeLinear", graph.add("QuantizeLinear", maps, scale, zero), scale, zero)


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().float().cpu().numpy()
