"""The training images that explain a mistake: the nearest in the network's features, and the most influential."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Int64
from torch import Tensor

from firstlight.data.images import ImageSet
from firstlight.evaluation.influence import Influences, LastLayerGradients, most_influential
from firstlight.evaluation.neighbours import Neighbours, nearest_neighbours
from firstlight.evaluation.predictions import Predictions
from firstlight.native import cpu
from firstlight.reports.cached_predictions import cached_predictions
from firstlight.reports.html.sprites import Sprite, make_sprite
from firstlight.runs.run import Run

NUM_NEIGHBOURS, NUM_INFLUENTIAL = 5, 2


@dataclass(frozen=True)
class TrainingEvidence:
    """Training images that explain mistakes.

    Args:
        entries: For each mistake, `nearest` holds pairs of a thumbnail's position and a distance, and `influential`
            pairs of a thumbnail's position and an influence.
        rows: Row of each thumbnail in the training images.
        thumbnails: Index, class and file name of each thumbnail, for the page's script.
        sprite: The thumbnails in one picture; mistakes share them.
        num_images: Number of training images that were searched.
    """

    entries: list[dict[str, Any]]
    rows: list[int]
    thumbnails: list[dict[str, Any]]
    sprite: Sprite
    num_images: int


def find_training_evidence(
    run: Run,
    train: ImageSet,
    predictions: Predictions,
    rows: Int64[Tensor, " m"],
    on_image: Callable[[int, int], None] | None = None,
) -> TrainingEvidence | None:
    """Find the training images that are nearest to some test images, and those that influence their loss most.

    Distances are Euclidean, between inputs of the head without augmentation. Influences are those of TracIn for the
    last layer at the final weights; see `firstlight.evaluation.influence`.

    Args:
        run: Finished run.
        train: Training images of the run.
        predictions: Predictions for the test images.
        rows: Rows of the test images to explain.
        on_image: Called with the number of training images done and of all, while their features are computed.

    Returns:
        The evidence, or None if there is no training image or the predictions have no features.
    """
    width = run.network.head.in_features
    if not len(train) or predictions.features.shape[1] != width:
        return None
    known = cached_predictions(run.network, train, is_bfloat16=is_tested_in_bfloat16(run), on_image=on_image)
    nearest = nearest_neighbours(predictions.features[rows], known.features, NUM_NEIGHBOURS)
    gradients = LastLayerGradients.of(predictions.logits[rows], predictions.features[rows], predictions.labels[rows])
    training = LastLayerGradients.of(known.logits, known.features, known.labels, run.recipe.label_smoothing)
    has_bias = run.network.head.bias is not None
    influential = most_influential(gradients, training, NUM_INFLUENTIAL, has_bias=has_bias)
    return _collect(train, nearest, influential)


def _collect(train: ImageSet, nearest: Neighbours, influential: Influences) -> TrainingEvidence:
    """Number the distinct training images, and make their sprite."""
    chosen = torch.cat([nearest.indices.flatten(), influential.indices.flatten()]).unique().tolist()
    position = {row: number for number, row in enumerate(chosen)}
    entries = [
        {
            "nearest": _pairs(position, nearest.indices[mistake], nearest.distances[mistake]),
            "influential": _pairs(position, influential.indices[mistake], influential.values[mistake]),
        }
        for mistake in range(len(nearest))
    ]
    thumbnails = [
        {"index": int(train.ids[row]), "label": int(train.labels[row])}
        | ({} if train.file_names is None else {"file": train.file_names[row]})
        for row in chosen
    ]
    return TrainingEvidence(
        entries, chosen, thumbnails, make_sprite(train[torch.tensor(chosen)].images.numpy()), len(train)
    )


def _pairs(position: dict[int, int], rows: Tensor, values: Tensor) -> list[tuple[int, float]]:
    return [(position[row], float(f"{value:.4g}")) for row, value in zip(rows.tolist(), values.tolist(), strict=True)]


def is_tested_in_bfloat16(run: Run) -> bool:
    """Return whether features must be computed in bfloat16 to match those of the run's test, and this CPU can do so."""
    return "bf16" in str(run.environment.get("precision", "")) and cpu.multiplies_bfloat16()
