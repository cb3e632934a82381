"""A map of the test images in two dimensions: the principal components of the network's features."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from firstlight.data.images import ImageSet
from firstlight.data.rng import generator
from firstlight.evaluation.predictions import Predictions
from firstlight.evaluation.principal_components import principal_components
from firstlight.reports.html.sprites import Sprite, make_sprite

MAX_POINTS = 3000
SCALE = 1000  # coordinates on the page go from 0 to this


@dataclass(frozen=True)
class FeatureMap:
    """Test images as points.

    Args:
        points: For the page's script, lists with an entry for each point: `index` of the image, `x` and `y` from 0 to
            1000 (y downwards), `true` and `predicted` class, `confidence`.
        sprite: Images of the points.
        explained: Share of the variance along x and along y, in [0, 1].
        num_images: Number of all test images.
    """

    points: dict[str, list[Any]]
    sprite: Sprite
    explained: tuple[float, float]
    num_images: int

    @property
    def num_points(self) -> int:
        """Number of points."""
        return len(self.points["x"])


def make_feature_map(images: ImageSet, predictions: Predictions, max_points: int = MAX_POINTS) -> FeatureMap | None:
    """Project the features of the test images onto their first two principal components.

    Args:
        images: Test images.
        predictions: Predictions for these images.
        max_points: Largest number of points. Mistakes come first; the other images are chosen at random.

    Returns:
        The map, or None if the predictions have no features.
    """
    if not predictions.features.shape[1] or not bool(predictions.features.isfinite().all()):
        return None
    projection = principal_components(predictions.features)
    rows = thinned_rows(predictions, max_points)
    x, y = _to_page(projection.coordinates)
    points = {
        "index": predictions.ids[rows].tolist(),
        "x": x[rows].tolist(),
        "y": (SCALE - y[rows]).tolist(),
        "true": predictions.labels[rows].tolist(),
        "predicted": predictions.predicted[rows].tolist(),
        "confidence": [round(value, 3) for value in predictions.probabilities().amax(dim=1)[rows].tolist()],
    }
    first, second = projection.explained.tolist()
    return FeatureMap(points, make_sprite(images.images[rows].numpy()), (first, second), len(predictions))


def thinned_rows(predictions: Predictions, max_points: int) -> Int64[Tensor, " m"]:
    """Return rows of at most `max_points` images, sorted: the most confident mistakes, then others at random."""
    wrong = predictions.misclassified()
    right = (predictions.predicted == predictions.labels).nonzero().flatten()
    right = right[torch.randperm(len(right), generator=generator(0, 0, "feature map"))]
    return torch.cat([wrong, right])[:max_points].sort().values


def _to_page(coordinates: Float[Tensor, "n 2"]) -> Int64[Tensor, "2 n"]:
    """Scale coordinates to the page, the same scale in both directions, and centre them."""
    low, high = coordinates.amin(dim=0), coordinates.amax(dim=0)
    extent = float((high - low).max()) or 1.0
    return (SCALE / 2 + (coordinates - (low + high) / 2) / extent * SCALE).round().long().T
