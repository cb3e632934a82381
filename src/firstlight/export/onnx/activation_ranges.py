"""Measure the ranges of the input and the output of each convolution, for the quantization to int8."""

from __future__ import annotations

from contextlib import ExitStack

import torch
from torch import Tensor, nn

from firstlight.arrays import Images
from firstlight.data.batches import to_unit
from firstlight.export.onnx.weight_formats import Range
from firstlight.networks import StagedNetwork

BATCH_SIZE = 128
# Of the values of a batch. Larger values are clipped: that loses less accuracy than coarser quantization levels.
PERCENTILE = 99.99


def measure_ranges(network: StagedNetwork, images: Images) -> dict[nn.Module, dict[str, Range]]:
    """Return the range of the input and of the output of each convolution.

    Both ends of a range are percentiles of the values in each batch, averaged over the batches.

    Args:
        network: Network in eval mode.
        images: Training images, uint8 [n 3 h w]; a thousand are enough.
    """
    found: dict[nn.Module, dict[str, list[Tensor]]] = {}

    def record(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        sides = found.setdefault(layer, {"input": [], "output": []})
        sides["input"].append(_ends(inputs[0]))
        sides["output"].append(_ends(output))

    with ExitStack() as hooks, torch.inference_mode():
        for layer in network.modules():
            if isinstance(layer, nn.Conv2d):
                hooks.callback(layer.register_forward_hook(record).remove)
        for batch in images.split(BATCH_SIZE):
            network(to_unit(batch))
    return {layer: {side: _range(ends) for side, ends in sides.items()} for layer, sides in found.items()}


def _ends(maps: Tensor) -> Tensor:
    """Return a low and a high percentile of the values, float [2]."""
    values = maps.flatten()
    rank = max(1, round(len(values) * (1 - PERCENTILE / 100)))
    return torch.stack([values.kthvalue(rank)[0], -(-values).kthvalue(rank)[0]])


def _range(ends: list[Tensor]) -> Range:
    low, high = torch.stack(ends).mean(dim=0).tolist()
    return Range(min(low, 0.0), max(high, 0.0))
