"""Attribution maps of a random sample of test images, and their mean for each class."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from firstlight.arrays import Labels
from firstlight.attribution import DEFAULT_METHOD, METHODS, explain
from firstlight.attribution.methods import check_method
from firstlight.data.batches import to_unit
from firstlight.data.images import ImageSet
from firstlight.data.rng import generator
from firstlight.networks import StagedNetwork

MAX_IMAGES = 2000


@dataclass(frozen=True, eq=False)
class SampledMaps:
    """Attribution maps of a sample of test images for their predicted classes.

    Args:
        method: Attribution method.
        stage: Name of the explained stage.
        rows: Rows of the test images, int64 [n].
        predicted: Predicted class of each image, int64 [n].
        maps: Maps, each divided by its largest absolute value, float32 [n h w].
    """

    method: str
    stage: str
    rows: Int64[Tensor, " n"]
    predicted: Labels
    maps: Float[Tensor, "n h w"]

    def mean_of(self, label: int) -> Float[Tensor, "h w"] | None:
        """Return the mean map of the images that are predicted as a class; None if there are none."""
        members = self.predicted == label
        return self.maps[members].mean(dim=0) if bool(members.any()) else None


def sample_maps(
    network: StagedNetwork, images: ImageSet, method: str, stage: str | None, max_images: int = MAX_IMAGES
) -> SampledMaps:
    """Compute the maps of at most `max_images` test images for their predicted classes.

    A method that runs the network many times for each map is replaced by the default method at the last stage.

    Args:
        network: Trained network.
        images: Test images.
        method: Attribution method.
        stage: Stage to explain; None for the last.
        max_images: Largest number of images, which are chosen at random with a fixed seed.

    Raises:
        UsageError: No method or stage has that name.
    """
    rows = torch.randperm(len(images), generator=generator(0, 0, "sampled maps"))[:max_images].sort().values
    if method not in METHODS:
        check_method(method)
        method, stage = DEFAULT_METHOD, None
    found = explain(network, to_unit(images[rows].images), method=method, stage=stage)
    largest = found.maps.abs().amax(dim=(1, 2), keepdim=True).clamp(min=torch.finfo(found.maps.dtype).tiny)
    return SampledMaps(found.method, found.stage, rows, found.classes, found.maps / largest)
