"""A predictor in memory, around a network with random weights and random running statistics."""

from __future__ import annotations

import torch
from torch import nn

from firstlight.networks import StagedNetwork
from firstlight.runs.predictor import ModelDescription, Predictor


class MadePredictor(Predictor):
    """A network with class names, a size, a temperature and a threshold."""

    network: StagedNetwork = None  # type: ignore[assignment]  # the constructor sets all
    class_names: tuple[str, ...] = ()
    size_px: tuple[int, int] = (0, 0)
    temperature: float = 1.0
    novelty_threshold: float | None = None

    def __init__(
        self,
        network: StagedNetwork,
        size_px: tuple[int, int] = (16, 16),
        temperature: float = 0.7,
        novelty_threshold: float | None = None,
    ) -> None:
        self.network = randomized(network).eval()
        self.class_names = tuple(f"class {number}" for number in range(network.head.out_features))
        self.size_px, self.temperature, self.novelty_threshold = size_px, temperature, novelty_threshold

    @property
    def description(self) -> ModelDescription:
        """Description of the model."""
        return ModelDescription("made")


def randomized(network: StagedNetwork, seed: int = 0) -> StagedNetwork:
    """Give every batch norm running statistics, weights and biases that change its input."""
    draw = torch.Generator().manual_seed(seed)
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            for tensor, low, high in (
                (layer.running_mean, -0.2, 0.2),
                (layer.running_var, 0.3, 2.0),
                (layer.weight, -1.5, 1.5),
                (layer.bias, -0.5, 0.5),
            ):
                assert tensor is not None
                tensor.data.uniform_(low, high, generator=draw)
    return network
