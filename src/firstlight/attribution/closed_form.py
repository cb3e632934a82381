"""Gradients at the last stage without a backward pass, for networks that end in pooling and a linear layer."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from firstlight.arrays import Logits
from firstlight.attribution.capture import stage_names


@dataclass(frozen=True, eq=False)
class PooledHead:
    """The layers after the last stage: pooling to 1x1, then a linear layer.

    Let W [k c] be the weights of the head, d [k] the gradient of the score with respect to the logits, and v = d W.
    Then the gradient of the score with respect to the activations is

        max pooling:   g[c,i,j] = v[c] if cell i,j holds the maximum of channel c, else 0
        mean pooling:  g[c,i,j] = v[c] / (h w)

    It follows that after max pooling Grad-CAM weights channel c by v[c] / (h w), and HiResCAM gives
    v[c] max(A[c]) to the cell of the maximum; after mean pooling the two methods agree. Several cells often share
    the maximum (ReLU before batch norm). The gradient then goes to the cell whose index the pool returns, the first
    one, as in autograd.

    Args:
        pool: AdaptiveMaxPool2d, MaxPool2d or AdaptiveAvgPool2d.
        head: Linear layer from the pooled channels to the logits.

    >>> head = nn.Linear(1, 1, bias=False)
    >>> _ = nn.init.constant_(head.weight, 3.0)
    >>> tied = torch.tensor([[[[0.0, 2.0, 2.0]]]])
    >>> PooledHead(nn.AdaptiveMaxPool2d(1), head).gradients(tied, torch.tensor([[1.0]])).tolist()
    [[[[0.0, 3.0, 0.0]]]]
    """

    pool: nn.Module
    head: nn.Linear

    def reproduces(self, activations: Float[Tensor, "n c h w"], logits: Logits) -> bool:
        """Whether pool and head alone compute exactly these logits from these activations.

        False if another operation follows the stage, such as a scale factor or a layer.

        Args:
            activations: Activations A of the last stage, float [n c h w].
            logits: Logits of the network for the same images, float [n k].
        """
        pooled = self.pool(activations)
        if pooled.shape[2:] != (1, 1) or pooled.shape[1] != self.head.in_features:
            return False
        return torch.equal(self.head(pooled.flatten(1)), logits)

    def gradients(
        self, activations: Float[Tensor, "n c h w"], logit_gradients: Float[Tensor, "n k"]
    ) -> Float[Tensor, "n c h w"]:
        """Return the gradient of the score with respect to the activations, equal to autograd's.

        Args:
            activations: Activations A of the last stage, float [n c h w].
            logit_gradients: Gradient d of the score with respect to the logits, float32 [n k].

        Returns:
            The gradient g, float32 [n c h w].
        """
        v = logit_gradients @ self.head.weight.float()
        height, width = activations.shape[2:]
        if isinstance(self.pool, nn.AdaptiveAvgPool2d):
            return (v / (height * width))[:, :, None, None].expand(*v.shape, height, width)
        indices = self._max_indices(activations).flatten(1)
        cells = torch.zeros(*v.shape, height * width, device=v.device)
        return cells.scatter_(2, indices[:, :, None], v[:, :, None]).unflatten(2, (height, width))

    def _max_indices(self, activations: Tensor) -> Tensor:
        if isinstance(self.pool, nn.AdaptiveMaxPool2d):
            return F.adaptive_max_pool2d(activations, 1, return_indices=True)[1]
        assert isinstance(self.pool, nn.MaxPool2d)
        window = (self.pool.kernel_size, self.pool.stride, self.pool.padding, self.pool.dilation, self.pool.ceil_mode)
        return F.max_pool2d(activations, *window, return_indices=True)[1]


def find_pooled_head(network: nn.Module, stage: str) -> PooledHead | None:
    """Return `network.pool` and `network.head` if the stage is the network's last one and both layers are supported.

    `PooledHead.reproduces` checks on real activations that nothing else follows the stage.

    >>> from firstlight.networks import ResNet9, ResNet9Config
    >>> network = ResNet9(10, ResNet9Config(width=1))
    >>> find_pooled_head(network, "residual3") is None, find_pooled_head(network, "layer3") is None
    (False, True)
    """
    pool, head = getattr(network, "pool", None), getattr(network, "head", None)
    is_last = stage_names(network)[-1:] == (stage,)
    if is_last and isinstance(pool, nn.AdaptiveMaxPool2d | nn.MaxPool2d | nn.AdaptiveAvgPool2d):
        return PooledHead(pool, head) if isinstance(head, nn.Linear) else None
    return None
