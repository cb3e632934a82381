"""The gradient at the last stage from the forward pass alone, where only pooling and a linear head follow."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from firstlight.arrays import Logits
from firstlight.attribution.capture import stage_names


@dataclass(frozen=True, eq=False)
class Tail:
    """What follows the last stage: pooling to 1x1, then a linear layer.

    With head weights W [k c], a score whose gradient by the logits is d [k], and v = d W:

        max pooling:   g[c,i,j] = v[c] where cell i,j wins channel c, else 0
        mean pooling:  g[c,i,j] = v[c] / (h w)

    So after max pooling Grad-CAM weighs channel c by v[c] / (h w), and HiResCAM gives v[c] max(A[c]) to
    the winning cell; after mean pooling the two agree. Equal cells share a channel's largest value often
    (ReLU before batch norm). The winner is the pool's own: the first, which is where autograd sends the gradient.

    Args:
        pool: AdaptiveMaxPool2d, MaxPool2d or AdaptiveAvgPool2d.
        head: from pooled channels to logits.

    >>> head = nn.Linear(1, 1, bias=False)
    >>> _ = nn.init.constant_(head.weight, 3.0)
    >>> tied = torch.tensor([[[[0.0, 2.0, 2.0]]]])
    >>> Tail(nn.AdaptiveMaxPool2d(1), head).gradients(tied, torch.tensor([[1.0]])).tolist()
    [[[[0.0, 3.0, 0.0]]]]
    """

    pool: nn.Module
    head: nn.Linear

    def explains(self, activations: Float[Tensor, "n c h w"], logits: Logits) -> bool:
        """Whether pool and head alone turn these activations into these logits, to the last bit.

        A network that does more on the way (a scale, another layer) is found out here.
        """
        pooled = self.pool(activations)
        if pooled.shape[2:] != (1, 1) or pooled.shape[1] != self.head.in_features:
            return False
        return torch.equal(self.head(pooled.flatten(1)), logits)

    def gradients(
        self, activations: Float[Tensor, "n c h w"], direction: Float[Tensor, "n k"]
    ) -> Float[Tensor, "n c h w"]:
        """Return the score's gradient by the activations, as autograd would.

        Args:
            activations: A, what the last stage gave out, float [n c h w].
            direction: d, the score's gradient by the logits, float32 [n k].

        Returns:
            g, float32 [n c h w].
        """
        v = direction @ self.head.weight.float()
        height, width = activations.shape[2:]
        if isinstance(self.pool, nn.AdaptiveAvgPool2d):
            return (v / (height * width))[:, :, None, None].expand(*v.shape, height, width)
        winners = self._winners(activations).flatten(1)
        cells = torch.zeros(*v.shape, height * width, device=v.device)
        return cells.scatter_(2, winners[:, :, None], v[:, :, None]).unflatten(2, (height, width))

    def _winners(self, activations: Tensor) -> Tensor:
        if isinstance(self.pool, nn.AdaptiveMaxPool2d):
            return F.adaptive_max_pool2d(activations, 1, return_indices=True)[1]
        assert isinstance(self.pool, nn.MaxPool2d)
        window = (self.pool.kernel_size, self.pool.stride, self.pool.padding, self.pool.dilation, self.pool.ceil_mode)
        return F.max_pool2d(activations, *window, return_indices=True)[1]


def find_tail(network: nn.Module, stage: str) -> Tail | None:
    """Return what follows a stage, if it is the network's last and `network.pool` and `network.head` are all.

    Whether nothing else happens between them is for `Tail.explains` to say, on real activations.

    >>> from firstlight.networks import ResNet9, ResNet9Config
    >>> network = ResNet9(10, ResNet9Config(width=1))
    >>> find_tail(network, "residual3") is None, find_tail(network, "layer3") is None
    (False, True)
    """
    pool, head = getattr(network, "pool", None), getattr(network, "head", None)
    is_last = stage_names(network)[-1:] == (stage,)
    if is_last and isinstance(pool, nn.AdaptiveMaxPool2d | nn.MaxPool2d | nn.AdaptiveAvgPool2d):
        return Tail(pool, head) if isinstance(head, nn.Linear) else None
    return None
