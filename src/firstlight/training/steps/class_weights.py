"""The weights of the classes in the training loss."""

from __future__ import annotations

import torch
from torch import Tensor

from firstlight.data.batches import Batches
from firstlight.errors import UsageError
from firstlight.recipes.config import Recipe
from firstlight.training.steps.losses import balanced_class_weights


def class_weights_of(recipe: Recipe, batches: Batches | None, device: torch.device) -> Tensor | None:
    """Return the weight of each class for a training, float [k] on the device; None if all images weigh the same.

    Args:
        recipe: Recipe of the training.
        batches: Its training batches; None if they are the user's own.
        device: Device of the batches.

    Raises:
        UsageError: The recipe asks for balanced classes, but the batches are the user's own.
    """
    if recipe.class_weights == "none":
        return None
    if batches is None:
        raise UsageError("class_weights=balanced counts the images of firstlight's own data: leave it out for a loader")
    return balanced_class_weights(batches.set.labels, len(batches.set.class_names)).to(device)
