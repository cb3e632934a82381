"""From a recipe to its module and its data, all random numbers seeded."""

from __future__ import annotations

from pathlib import Path

import pytorch_lightning as pl
import torch

from firstlight.networks import build_network
from firstlight.recipes.config import Recipe
from firstlight.training.data_module import ImageData
from firstlight.training.module import Classifier

NUM_TO_ADOPT = 5000  # training images from which a network takes what no gradient teaches


def prepare(recipe: Recipe, data_dir: Path | str) -> tuple[Classifier, ImageData]:
    """Return the module and the data of a recipe, all random numbers seeded."""
    pl.seed_everything(recipe.seed, workers=True, verbose=False)
    data = ImageData(recipe, data_dir)
    data.prepare_data()
    data.setup("fit")
    network = build_network(len(data.train.class_names), recipe.network, *data.train.mean_and_std)
    network.adopt(data.train.images[:NUM_TO_ADOPT])
    module = Classifier(network, data.recipe)
    module.example_input_array = torch.zeros(1, 3, *data.train.size_px)
    return module, data
