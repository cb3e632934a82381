"""What every network here has in common: named stages, features, a linear head."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from firstlight.arrays import Images
from firstlight.backprop.selective import may_run, run
from firstlight.errors import UsageError
from firstlight.layers.normalize import Normalize


class StagedNetwork(nn.Module):
    """A network that names its intermediate maps, so that explaining it never guesses a layer.

    Attributes:
        stages: names of the submodules whose outputs are the intermediate maps, in order.
        normalize: takes RGB in [0, 1].
        pool: turns the last stage's maps into one number for each channel.
        head_scale: factor on these numbers, which are then the features.
        head: turns features into logits.
        by_pullbacks: whether the stages go back by the rules of this package where they can, in training on a CPU: that
            takes less time than autograd does, but a backward pass can be made once only. See selective.py.
        skips_zero_gradients: whether that backward pass leaves out the images whose gradient is zero.
    """

    stages: ClassVar[tuple[str, ...]]
    normalize: Normalize
    pool: nn.Module
    head_scale: float = 1.0
    head: nn.Linear
    by_pullbacks: bool = False
    skips_zero_gradients: bool = False

    def adopt(self, images: Images) -> None:
        """Take from training images, uint8 [n 3 h w], what no gradient teaches; most networks take nothing."""

    def maps(self, images: Tensor) -> Tensor:
        """Return the last stage's output, float [n c h' w'], for images in [0, 1], float [n 3 h w]."""
        x = self.normalize(images)
        stages = [self.get_submodule(name) for name in self.stages]
        if (self.by_pullbacks or self.skips_zero_gradients) and may_run(stages, x):
            return run(stages, x, skips=self.skips_zero_gradients)
        for stage in stages:
            x = stage(x)
        return x

    def features(self, images: Tensor) -> Tensor:
        """Return what the head sees, float [n f], for images in [0, 1], float [n 3 h w]."""
        pooled: Tensor = self.pool(self.maps(images)).flatten(1)
        return pooled if self.head_scale == 1 else pooled * self.head_scale

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits, float [n k], for images in [0, 1], float [n 3 h w]."""
        return self.head(self.features(images))


def check_width(width: int) -> None:
    """Raise UsageError unless there is a channel at least."""
    if width < 1:
        raise UsageError(f"network.width must be 1 or more, not {width}")
