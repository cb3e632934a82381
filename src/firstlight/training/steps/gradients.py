"""The gradients of one training step, without autograd: a function that can be compiled and recorded whole."""

from __future__ import annotations

from typing import NamedTuple, cast

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional as F

from firstlight.arrays import UnitImages
from firstlight.backprop import Backward, are_known, chained, has_hooks
from firstlight.networks import StagedNetwork
from firstlight.training.steps.importance import by_gradient, gradients_at_logits


class Losses(NamedTuple):
    """What a training step says of its images.

    Args:
        mean: cross-entropy with the smoothed target, over all images, float32.
        accuracy: the share of images that are taken for what they are, float32.
        smoothed: cross-entropy of each image with the smoothed target, float32 [n].
        plain: likewise, with the label itself.
    """

    mean: Float[Tensor, ""]
    accuracy: Float[Tensor, ""]
    smoothed: Float[Tensor, " n"]
    plain: Float[Tensor, " n"]

    @staticmethod
    def of(logits: Float[Tensor, "n k"], labels: Int64[Tensor, " n"], label_smoothing: float) -> Losses:
        """Compare float32 logits with the labels."""
        smoothed = F.cross_entropy(logits, labels, label_smoothing=label_smoothing, reduction="none")
        plain = F.cross_entropy(logits.detach(), labels, reduction="none")
        is_correct = logits.detach().argmax(dim=1) == labels
        return Losses(smoothed.mean(), is_correct.float().mean(), smoothed, plain)


def knows_step(network: StagedNetwork) -> bool:
    """Whether `step_gradients` can be asked about a network.

    It can if all its layers have pullbacks, if its parts are put together as in `StagedNetwork`, and if no module has
    a hook, which would not be called.
    """
    kind = type(network)
    if not all(getattr(kind, name) is getattr(StagedNetwork, name) for name in ("forward", "features", "maps")):
        return False
    return are_known(_layers(network)) and not any(map(has_hooks, network.modules()))


@torch.no_grad()
def step_gradients(
    network: StagedNetwork,
    images: UnitImages,
    labels: Int64[Tensor, " n"],
    label_smoothing: float = 0.0,
    share: float = 1.0,
    num_kept: int | None = None,
) -> tuple[Losses, list[Tensor]]:
    """Return the losses of a batch, and the gradients of their mean, of each parameter that learns, in their order.

    With a `share` below 1 the gradients are those of the images with the largest gradients, see `largest_gradients`,
    but of a fixed number of images at most, so that every step does the same.

    Args:
        network: for which `knows_step`, in training.
        images: in [0, 1], float [n 3 h w].
        labels: int64 [n].
        label_smoothing: as the loss has it.
        share: of the gradient, above 0.
        num_kept: the images that go back, at most; all if None.
    """
    *stages, pool, head = _layers(network)
    maps, pull_maps = chained(stages, network.normalize(images), needs_gradient=False)
    pooled, pull_pooled = chained([pool], maps, needs_gradient=True)
    logits, pull_logits = chained([head], pooled.flatten(1) * network.head_scale, needs_gradient=True)
    logits = logits.float()
    gradients, places = gradients_at_logits(logits, labels, label_smoothing) / len(images), None
    if share < 1:
        order, is_chosen = by_gradient(gradients, share)
        places = order[:num_kept]
        gradients = gradients[places] * is_chosen[:num_kept, None]
    backward = Backward(places, len(images))
    of_features = cast(Tensor, pull_logits(gradients.to(pooled.dtype), backward))
    of_maps = cast(Tensor, pull_pooled(of_features[:, :, None, None] * network.head_scale, backward))
    pull_maps(of_maps, backward)
    learning = (each for each in network.parameters() if each.requires_grad)
    return Losses.of(logits, labels, label_smoothing), [backward.gradients[each] for each in learning]


def _layers(network: StagedNetwork) -> list[nn.Module]:
    return [*(network.get_submodule(name) for name in network.stages), network.pool, network.head]
