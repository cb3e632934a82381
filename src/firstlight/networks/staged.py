"""What every network here has in common: named stages, features, a linear head."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from firstlight.arrays import Images
from firstlight.errors import UsageError
from firstlight.networks.normalize import Normalize


class StagedNetwork(nn.Module):
    """A network that names its intermediate maps, so that explaining it never guesses a layer.

    Attributes:
        stages: names of the submodules whose outputs are the intermediate maps, in order.
        normalize: takes RGB in [0, 1].
        head: turns features into logits.
    """

    stages: ClassVar[tuple[str, ...]]
    normalize: Normalize
    head: nn.Linear

    def adopt(self, images: Images) -> None:
        """Take from training images, uint8 [n 3 h w], what no gradient teaches; most networks take nothing."""

    def features(self, images: Tensor) -> Tensor:
        """Return what the head sees, float [n f], for images in [0, 1], float [n 3 h w]."""
        raise NotImplementedError

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits, float [n k], for images in [0, 1], float [n 3 h w]."""
        return self.head(self.features(images))


def check_width(width: int) -> None:
    """Raise UsageError unless there is a channel at least."""
    if width < 1:
        raise UsageError(f"network.width must be 1 or more, not {width}")
