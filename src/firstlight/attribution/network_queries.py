"""Scores, gradients and activations of a network, for the methods that perturb images or activations."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor, nn

from firstlight.arrays import UnitImages
from firstlight.attribution.capture import capture, find_stages
from firstlight.attribution.perturbation import mean_colour
from firstlight.attribution.target import Target
from firstlight.compiled import running_eagerly
from firstlight.layers.normalize import Normalize

Score = Callable[[UnitImages], Float[Tensor, " n"]]
Gradient = Callable[[UnitImages], UnitImages]


class NetworkQueries:
    """Scores and gradients of a network for one batch of images, which perturbed batches hold in the same order.

    Args:
        network: Network in eval mode that takes RGB in [0, 1] and returns logits; its parameters need no gradient.
        images: RGB in [0, 1], float [n 3 h w].
        target: Target score of each image, chosen for the unperturbed images.
        autocast: Context of each forward pass.
        to_maps: Function from the name and the output of a stage to maps, float [n c h w].
    """

    def __init__(
        self,
        network: nn.Module,
        images: UnitImages,
        target: Target,
        autocast: Callable[[], AbstractContextManager[object]],
        to_maps: Callable[[str, Tensor], Tensor],
    ) -> None:
        self.network, self.images, self.target = network, images, target
        self._autocast, self._to_maps = autocast, to_maps

    @cached_property
    def covered(self) -> UnitImages:
        """The images with all pixels covered; see `covered_images`. Float [n 3 h w]."""
        return covered_images(self.network, self.images)

    def score(self, images: UnitImages) -> Float[Tensor, " n"]:
        """Return the target score of each image, float32 [n]."""
        with torch.inference_mode(), self._autocast():
            return self.target.values(self.network(images)).clone()

    def gradient(self, images: UnitImages) -> UnitImages:
        """Return the gradient of each image's score with respect to its pixels, float [n 3 h w]."""
        with torch.inference_mode(False), torch.enable_grad():
            pixels = images.clone().detach().requires_grad_()
            with running_eagerly(self.network), self._autocast():
                score = self.target.values(self.network(pixels))
            return torch.autograd.grad(score.sum(), pixels)[0].detach()

    def activations(self, stage: str) -> Float[Tensor, "n c h w"]:
        """Return the output of a stage as maps, float32 [n c h w]."""
        with capture(self.network, [stage], with_gradients=False) as captured, self._autocast():
            self.network(self.images)
            return self._to_maps(stage, captured.activations_of(stage)).float()

    def score_of_activations(self, stage: str) -> Score:
        """Return a function from the output of a stage, [n c h w], to the target score of each image, float32 [n]."""
        (module,) = find_stages(self.network, [stage]).values()

        def score(activations: Tensor) -> Float[Tensor, " n"]:
            hook = module.register_forward_hook(lambda _module, _inputs, output: activations.to(output.dtype))
            try:
                with running_eagerly(self.network):
                    return self.score(self.images)
            finally:
                hook.remove()

        return score


def covered_images(network: nn.Module, images: UnitImages) -> UnitImages:
    """Return the images with all pixels covered by the mean colour, float [n 3 h w].

    The colour is the mean of the training set if the network has a `Normalize` layer, else the mean of each image.
    """
    normalize = getattr(network, "normalize", None)
    return mean_colour(images, normalize.mean.flatten() if isinstance(normalize, Normalize) else None)
