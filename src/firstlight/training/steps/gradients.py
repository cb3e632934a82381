"""The gradients of one training step without autograd: a pure function that can be compiled and captured whole."""

from __future__ import annotations

from typing import TypeGuard, cast

import torch
from torch import Tensor, nn

from firstlight.arrays import Targets, UnitImages
from firstlight.backprop import Backward, chain_vjps, has_hooks, have_rules
from firstlight.networks import StagedNetwork
from firstlight.networks.staged import keeps_methods
from firstlight.training.steps.importance import gradients_at_logits, order_by_gradient
from firstlight.training.steps.losses import Losses


def supports_step_gradients(network: nn.Module) -> TypeGuard[StagedNetwork]:
    """Return whether `step_gradients` can compute the gradients of this network.

    It can if every layer has a backward rule, if the network's `forward`, `features` and `maps` are those of
    `StagedNetwork`, and if no module has a hook: hooks would not be called.
    """
    if not keeps_methods(network, "forward", "features", "pool_features", "maps"):
        return False
    staged = cast(StagedNetwork, network)
    return have_rules(_layers(staged)) and not any(map(has_hooks, network.modules()))


@torch.no_grad()
def step_gradients(
    network: StagedNetwork,
    images: UnitImages,
    labels: Targets,
    label_smoothing: float = 0.0,
    share: float = 1.0,
    max_images: int | None = None,
    class_weights: Tensor | None = None,
) -> tuple[Losses, list[Tensor]]:
    """Compute the losses of a batch and the gradients of their mean.

    With a `share` below 1, only the images with the largest gradients count (see `largest_gradients`), and at most
    `max_images` of them: a captured step must always have the same shapes.

    Batch norm's backward pass treats the statistics of the batch as those of the images in the backward pass (see
    `apply_vjps`). Without `max_images`, all images are in it, and the gradients are those of autograd for the loss of
    the chosen images. `AutogradStep` on the CPU leaves out all images that are not chosen, and has the gradients of
    this function with `max_images` equal to their number. The two differ much where few images share the statistics.

    Args:
        network: Network in training mode that `supports_step_gradients`.
        images: RGB in [0, 1], float [n 3 h w].
        labels: Classes, int64 [n], or targets of mixed images, float [n k].
        label_smoothing: Share of the target that is spread over all classes.
        share: Share of the gradient norm to keep, above 0.
        max_images: Largest number of images in the backward pass; None sets no limit.
        class_weights: Weight of the images of each class, float [k]; None weights all images by 1.

    Returns:
        The losses, and the gradient of each parameter that requires one, in the order of `network.parameters()`.
    """
    *stages, pool, head = _layers(network)
    maps, vjp_of_maps = chain_vjps(stages, network.normalize(images), needs_gradient=False)
    pooled, vjp_of_pool = chain_vjps([pool], maps, needs_gradient=True)
    logits, vjp_of_head = chain_vjps([head], pooled.flatten(1) * network.head_scale, needs_gradient=True)
    logits = logits.float()
    gradients, indices = gradients_at_logits(logits, labels, label_smoothing, class_weights) / len(images), None
    if share < 1:
        order, is_chosen = order_by_gradient(gradients, share)
        indices = order[:max_images]
        gradients = gradients[indices] * is_chosen[:max_images, None]
    backward = Backward(indices, len(images))
    feature_gradients = cast(Tensor, vjp_of_head(gradients.to(pooled.dtype), backward))
    map_gradients = cast(Tensor, vjp_of_pool(feature_gradients[:, :, None, None] * network.head_scale, backward))
    vjp_of_maps(map_gradients, backward)
    parameters = (parameter for parameter in network.parameters() if parameter.requires_grad)
    return Losses.of(logits, labels, label_smoothing, class_weights), [
        backward.gradients[parameter] for parameter in parameters
    ]


def _layers(network: StagedNetwork) -> list[nn.Module]:
    return [*(network.get_submodule(name) for name in network.stages), network.pool, network.head]
