"""Counts the multiply-accumulates of the convolutions and linear layers in a forward pass."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def count_macs(network: nn.Module, images: Tensor) -> int:
    """Multiply-accumulates of one forward pass over the given images."""
    counted: list[int] = []

    def count(layer: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
        per_output = layer.weight[0].numel()  # every output number is a sum over one filter's weights
        counted.append(output.numel() * per_output)

    layers = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    handles = [layer.register_forward_hook(count) for layer in layers]
    try:
        with torch.no_grad():
            network(images)
    finally:
        for handle in handles:
            handle.remove()
    return sum(counted)
