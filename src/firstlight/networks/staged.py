"""The base class of all networks: named stages, pooled features, a linear head."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from firstlight.arrays import Images
from firstlight.layers.normalize import Normalize


class StagedNetwork(nn.Module):
    """Base class of networks that name their intermediate maps, so that explanations never guess a layer.

    A subclass sets the attributes below in its constructor. It may override `pool_features` and `init_from_data`.

    Attributes:
        stages: Names of the submodules whose outputs are the intermediate maps, in forward order.
        normalize: Normalization of RGB in [0, 1].
        pool: Layer that reduces the last stage's maps to one number per channel.
        head_scale: Factor that multiplies the pooled maps.
        head: Linear layer from features to logits.
    """

    stages: ClassVar[tuple[str, ...]]
    normalize: Normalize
    pool: nn.Module
    head_scale: float = 1.0
    head: nn.Linear

    def init_from_data(self, images: Images) -> None:
        """Initialize data-dependent weights that are not learned. Does nothing unless a subclass overrides it.

        Args:
            images: Training images, uint8 [n 3 h w].
        """

    def maps(self, images: Tensor) -> Tensor:
        """Compute the last stage's output, float [n c h' w'], of images in [0, 1], float [n 3 h w]."""
        x = self.normalize(images)
        for name in self.stages:
            x = self.get_submodule(name)(x)
        return x

    def pool_features(self, maps: Tensor) -> Tensor:
        """Reduce the last stage's output, float [n c h' w'], to the features, float [n f]."""
        pooled: Tensor = self.pool(maps).flatten(1)
        return pooled if self.head_scale == 1 else pooled * self.head_scale

    def features(self, images: Tensor) -> Tensor:
        """Compute the input of the head, float [n f], from images in [0, 1], float [n 3 h w]."""
        return self.pool_features(self.maps(images))

    def forward(self, images: Tensor) -> Tensor:
        """Compute the logits, float [n k], of images in [0, 1], float [n 3 h w]."""
        return self.head(self.features(images))


def keeps_methods(network: nn.Module, *names: str) -> bool:
    """Whether a network is a `StagedNetwork` that overrides none of these methods."""
    if not isinstance(network, StagedNetwork):
        return False
    return all(getattr(getattr(network, name), "__func__", None) is vars(StagedNetwork)[name] for name in names)
