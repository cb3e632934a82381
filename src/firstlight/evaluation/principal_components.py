"""Principal component analysis: the directions in which feature vectors vary most."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float64
from torch import Tensor

from firstlight.arrays import Features


@dataclass(frozen=True, eq=False)
class Projection:
    """Feature vectors in the coordinates of their principal components.

    Args:
        coordinates: Centred coordinates, float64 [n d], the direction of the largest variance first.
        explained: Share of the variance along each direction, in [0, 1], float64 [d].
    """

    coordinates: Float64[Tensor, "n d"]
    explained: Float64[Tensor, " d"]


def principal_components(features: Features, num_components: int = 2) -> Projection:
    """Project feature vectors onto the eigenvectors of their covariance matrix with the largest eigenvalues.

    The sign of a direction is chosen so that its largest entry by absolute value is positive. Directions that do not
    exist, because there are too few features, have coordinates of 0.

    Args:
        features: Feature vectors, float [n f].
        num_components: Number d of directions.

    >>> found = principal_components(torch.tensor([[0.0, 1.0], [4.0, 1.0]]), 1)
    >>> found.coordinates.flatten().tolist(), found.explained.tolist()
    ([-2.0, 2.0], [1.0])
    """
    centred = features.double() - features.double().mean(dim=0)
    values, vectors = torch.linalg.eigh(centred.T @ centred)
    order = values.argsort(descending=True)[:num_components]
    directions = vectors[:, order]
    largest = directions.gather(0, directions.abs().argmax(dim=0, keepdim=True)) if len(directions) else directions
    coordinates = centred @ (directions * largest.sign())
    explained = values[order].clamp(min=0) / values.sum().clamp(min=torch.finfo(torch.float64).tiny)
    missing = num_components - coordinates.shape[1]
    return Projection(
        torch.nn.functional.pad(coordinates, (0, missing)), torch.nn.functional.pad(explained, (0, missing))
    )
