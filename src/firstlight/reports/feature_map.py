"""A map of the test images in two dimensions: principal components or UMAP of the network's features."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from firstlight.arrays import Features
from firstlight.data.images import ImageSet
from firstlight.data.rng import generator
from firstlight.errors import MissingPackageError, UsageError
from firstlight.evaluation.predictions import Predictions
from firstlight.evaluation.principal_components import principal_components
from firstlight.extras import install_command
from firstlight.reports.html.sprites import Sprite, make_sprite

PROJECTIONS = ("pca", "umap")
MAX_POINTS = 3000
MIN_UMAP_IMAGES = 4
SCALE = 1000  # coordinates on the page go from 0 to this


@dataclass(frozen=True)
class FeatureMap:
    """Test images as points.

    Args:
        points: Lists with an entry for each point, for the page's script: `index` of the image, `x` and `y` from 0 to
            1000 (y points down), `true` and `predicted` class, and `confidence`.
        sprite: Images of the points.
        explained: Shares of the variance that x and y explain, in [0, 1]; None for UMAP, whose axes have no unit.
        num_images: Number of all test images.
    """

    points: dict[str, list[Any]]
    sprite: Sprite
    explained: tuple[float, float] | None
    num_images: int

    @property
    def num_points(self) -> int:
        """Number of points."""
        return len(self.points["x"])


def make_feature_map(
    images: ImageSet, predictions: Predictions, max_points: int = MAX_POINTS, projection: str = "pca"
) -> FeatureMap | None:
    """Project the features of the test images into two dimensions.

    Args:
        images: Test images.
        predictions: Predictions for these images.
        max_points: Largest number of points. Mistakes come first; the other images are chosen at random.
        projection: "pca" for the first two principal components; "umap" for UMAP, which keeps neighbours together.

    Returns:
        The map, or None if the predictions have no features.

    Raises:
        MissingPackageError: The package of UMAP is not installed.
        UsageError: No projection has that name.
    """
    check_projection(projection)
    if not predictions.features.shape[1] or not bool(predictions.features.isfinite().all()):
        return None
    explained = None
    if projection == "umap":
        coordinates = umap_coordinates(predictions.features)
    else:
        components = principal_components(predictions.features)
        coordinates, (first, second) = components.coordinates, components.explained.tolist()
        explained = first, second
    rows = choose_rows(predictions, max_points)
    x, y = _to_page(coordinates)
    points = {
        "index": predictions.ids[rows].tolist(),
        "x": x[rows].tolist(),
        "y": (SCALE - y[rows]).tolist(),
        "true": predictions.labels[rows].tolist(),
        "predicted": predictions.predicted[rows].tolist(),
        "confidence": [round(value, 3) for value in predictions.probabilities().amax(dim=1)[rows].tolist()],
    }
    return FeatureMap(points, make_sprite(images[rows].images.numpy()), explained, len(predictions))


def check_projection(projection: str) -> None:
    """Check that a projection exists and that its package is installed.

    Raises:
        MissingPackageError: The package of UMAP is not installed.
        UsageError: No projection has that name.
    """
    if projection not in PROJECTIONS:
        raise UsageError(f"projection {projection!r} is not known; choose one of {', '.join(PROJECTIONS)}")
    if projection == "umap" and find_spec("umap") is None:
        raise MissingPackageError(f"projection umap: its package is not installed; run {install_command('umap')}")


def umap_coordinates(features: Features) -> Float[Tensor, "n 2"]:
    """Return the coordinates of UMAP (McInnes et al. 2018, arXiv 1802.03426), the same at every call.

    The number of neighbours is the package's default of 15, or the number of other images if that is smaller. Fewer
    than four images have too few neighbours, so their principal components are returned.

    Args:
        features: Features, float32 [n f].
    """
    if len(features) < MIN_UMAP_IMAGES:
        return principal_components(features).coordinates
    from umap import UMAP

    reducer = UMAP(n_components=2, n_neighbors=min(15, len(features) - 1), random_state=0, n_jobs=1)
    return torch.from_numpy(np.asarray(reducer.fit_transform(features.numpy()), np.float32))


def choose_rows(predictions: Predictions, max_points: int) -> Int64[Tensor, " m"]:
    """Choose at most `max_points` images, the most confident mistakes first, then other images at random.

    Returns:
        Rows of the images in increasing order, int64 [m].
    """
    wrong = predictions.misclassified()
    right = (predictions.predicted == predictions.labels).nonzero().flatten()
    right = right[torch.randperm(len(right), generator=generator(0, 0, "feature map"))]
    return torch.cat([wrong, right])[:max_points].sort().values


def _to_page(coordinates: Float[Tensor, "n 2"]) -> Int64[Tensor, "2 n"]:
    """Scale coordinates to the page, equally in both directions, and centre them."""
    low, high = coordinates.amin(dim=0), coordinates.amax(dim=0)
    extent = float((high - low).max()) or 1.0
    return (SCALE / 2 + (coordinates - (low + high) / 2) / extent * SCALE).round().long().T
