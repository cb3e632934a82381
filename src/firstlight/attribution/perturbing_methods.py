"""Registry of the slow attribution methods, which run the network many times for one map."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor

from firstlight.attribution.ablation_cam import ablation_cam
from firstlight.attribution.integrated_gradients import integrated_gradients
from firstlight.attribution.network_queries import NetworkQueries
from firstlight.attribution.occlusion import occlusion
from firstlight.attribution.rise import rise
from firstlight.attribution.score_cam import score_cam
from firstlight.attribution.smooth_grad import smooth_grad


class PerturbingMethod(NamedTuple):
    """A method that runs the network many times.

    Args:
        make_maps: Function from a batch's queries and the name of a stage to its maps, [n h w].
        explains_pixels: Whether the map has a value for each pixel; then there is no stage.
        replaces_activations: Whether the network runs with changed activations of the stage.
    """

    make_maps: Callable[[NetworkQueries, str], Tensor]
    explains_pixels: bool
    replaces_activations: bool = False


PERTURBING_METHODS: dict[str, PerturbingMethod] = {
    "score_cam": PerturbingMethod(
        lambda queries, stage: score_cam(queries.score, queries.images, queries.activations(stage), queries.covered),
        explains_pixels=False,
    ),
    "ablation_cam": PerturbingMethod(
        lambda queries, stage: ablation_cam(queries.score_of_activations(stage), queries.activations(stage)),
        explains_pixels=False,
        replaces_activations=True,
    ),
    "integrated_gradients": PerturbingMethod(
        lambda queries, _stage: integrated_gradients(queries.gradient, queries.images, queries.covered),
        explains_pixels=True,
    ),
    "smooth_grad": PerturbingMethod(
        lambda queries, _stage: smooth_grad(queries.gradient, queries.images), explains_pixels=True
    ),
    "occlusion": PerturbingMethod(
        lambda queries, _stage: occlusion(queries.score, queries.images, queries.covered), explains_pixels=True
    ),
    "rise": PerturbingMethod(
        lambda queries, _stage: rise(queries.score, queries.images, queries.covered), explains_pixels=True
    ),
}
PIXELS = "pixels"  # the stage name of a map with a value for each pixel


def explains_pixels(method: str) -> bool:
    """Whether a method gives a value to each pixel, and so has no stage.

    >>> explains_pixels("rise"), explains_pixels("grad_cam")
    (True, False)
    """
    return method in PERTURBING_METHODS and PERTURBING_METHODS[method].explains_pixels
