"""Build the module and the data of a recipe, with all random numbers seeded."""

from __future__ import annotations

from pathlib import Path

import pytorch_lightning as pl
import torch

from firstlight.data.decisions import Decisions
from firstlight.data.folds import Fold
from firstlight.recipes.config import Recipe
from firstlight.runs.options import Steps
from firstlight.training.data_module import ImageData
from firstlight.training.module import Classifier
from firstlight.training.start_weights import initialized_network


def build(
    recipe: Recipe,
    data_dir: Path | str,
    steps: Steps = "recorded",
    fold: Fold | None = None,
    decisions: Decisions | None = None,
    *,
    has_checkpoint: bool = False,
) -> tuple[Classifier, ImageData]:
    """Build the module and the data of a recipe, with all random numbers seeded.

    Args:
        recipe: Recipe of the training.
        data_dir: Folder of the data sets, or of the user's images.
        steps: How a GPU runs the training steps; see `Classifier`.
        fold: Fold of a cross-validation; see `ImageData`.
        decisions: Decisions of an audit; see `ImageData`.
        has_checkpoint: Whether the caller loads a checkpoint afterwards, so that no model to start from is needed.

    Raises:
        UsageError: The model to start from has another architecture, or fewer stages than are to be frozen.
        RunError: There is no such model.
    """
    pl.seed_everything(recipe.seed, workers=True, verbose=False)
    data = ImageData(recipe, data_dir, fold, decisions)
    data.prepare_data()
    data.setup("fit")
    network, start_weights = initialized_network(data.recipe, data.train, has_checkpoint=has_checkpoint)
    module = Classifier(network, data.recipe, steps)
    module.start_weights = start_weights
    module.example_input_array = torch.zeros(1, 3, *data.train.size_px)
    return module, data
