"""Parameters and multiply-accumulates counted with loops over modules: slow, obvious, apart from firstlight."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def count_macs(network: nn.Module, size_px: int) -> int:
    """Return the multiply-accumulates of all convolutions and linear layers for one image.

    Each output value of a convolution takes one multiply-accumulate for each weight of its filter; each output value
    of a linear layer takes one for each of its inputs.
    """
    macs = 0

    def convolution(module: nn.Conv2d, inputs: tuple[Tensor], output: Tensor) -> None:
        nonlocal macs
        weights_of_one_filter = module.in_channels // module.groups
        for side in module.kernel_size:
            weights_of_one_filter *= side
        macs += output[0].numel() * weights_of_one_filter

    def linear(module: nn.Linear, inputs: tuple[Tensor], output: Tensor) -> None:
        nonlocal macs
        macs += output[0].numel() * module.in_features

    handles = []
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            handles.append(module.register_forward_hook(convolution))
        elif isinstance(module, nn.Linear):
            handles.append(module.register_forward_hook(linear))
    with torch.no_grad():
        network.eval()(torch.rand(1, 3, size_px, size_px))
    for handle in handles:
        handle.remove()
    return macs


def count_parameters(network: nn.Module) -> int:
    """Return how many numbers the network learns."""
    total = 0
    for _, parameter in network.named_parameters():
        size = 1
        for side in parameter.shape:
            size *= side
        total += size
    return total
