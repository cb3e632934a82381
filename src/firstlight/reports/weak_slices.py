"""Find groups of test images on which a run is significantly less accurate."""

from __future__ import annotations

from collections.abc import Mapping

from jaxtyping import Float
from torch import Tensor

from firstlight.data.images import ImageSet
from firstlight.evaluation.predictions import Predictions
from firstlight.evaluation.slices import Slice, find_pairs, find_slices, image_attributes

MAX_SLICES, MAX_PAIRS, MAX_Q_VALUE = 12, 6, 0.05


def find_weak_slices(
    images: ImageSet, predictions: Predictions, attributes: Mapping[str, Float[Tensor, " n"]] | None = None
) -> list[Slice]:
    """Return slices of the test images with significantly lower accuracy, then pairs of slices that are worse still.

    Args:
        images: Test images.
        predictions: Predictions for these images.
        attributes: More attributes of the images, in addition to those of `image_attributes`.

    Returns:
        At most 12 slices and 6 pairs with a q-value below 0.05; a pair is less accurate than both of its slices.
    """
    right = predictions.predicted == predictions.labels
    known = image_attributes(images.pixels, images.evidence) | dict(attributes or {})
    slices = find_slices(known, images.labels, images.class_names, right)
    weak = [each for each in slices if each.q_value < MAX_Q_VALUE][:MAX_SLICES]
    accuracy = {each.name: each.accuracy for each in weak}
    pairs = [
        pair
        for pair in find_pairs(weak, right)
        if pair.q_value < MAX_Q_VALUE and pair.accuracy < min(accuracy[name] for name in pair.parents)
    ]
    return weak + pairs[:MAX_PAIRS]
