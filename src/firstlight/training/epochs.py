"""The number of epochs of a model, also before its trainer has met it."""

from __future__ import annotations

from weakref import WeakSet

import pytorch_lightning as pl
from torch import nn

from firstlight.recipes.config import Recipe
from firstlight.training.lightning_internals import attached_trainer

_made: WeakSet[pl.LightningModule] = WeakSet()  # models of this process that still exist


def note_model(model: pl.LightningModule) -> None:
    """Note a new model, so that a trainer without `max_epochs` can report its epochs before the training."""
    _made.add(model)


def epochs_of(model: nn.Module) -> int:
    """Return the epochs of a model's recipe; those of the exercise for a module without a recipe."""
    recipe = getattr(model, "recipe", None)
    return (recipe if isinstance(recipe, Recipe) else Recipe()).max_epochs


def epochs_of_next_model() -> int | None:
    """Return the epochs of the models that no trainer has met yet: a trainer that is still free will train one of them.

    Nothing is trained by this number, because `firstlight.Trainer.fit` takes the epochs of the model that it receives.

    Returns:
        The epochs of the exercise if there is no such model; None if there are several with different epochs.
    """
    found = {epochs_of(model) for model in list(_made) if attached_trainer(model) is None}
    if len(found) > 1:
        return None
    return found.pop() if found else Recipe().max_epochs
