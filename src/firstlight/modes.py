"""Switch a network to evaluation mode temporarily."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def in_evaluation(network: nn.Module) -> Iterator[None]:
    """Put a network in evaluation mode within the block, then restore the mode of every module, also after an error.

    >>> network = nn.Sequential(nn.Dropout())
    >>> with in_evaluation(network):
    ...     network[0].training
    False
    >>> network[0].training
    True
    """
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
