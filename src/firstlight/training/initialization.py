"""Initialize the weights of a network: from the recipe's seed, and from the training images."""

from __future__ import annotations

import torch
from torch import nn

from firstlight.compiled import uncompiled
from firstlight.data.images import ImageSet
from firstlight.networks import StagedNetwork, build_network
from firstlight.recipes.config import Recipe

NUM_INIT_IMAGES = 5000  # training images from which data-dependent weights are initialized


def seeded_network(num_classes: int, recipe: Recipe) -> StagedNetwork:
    """Build the network of a recipe with weights drawn from the recipe's seed; PyTorch's own generator is untouched.

    Args:
        num_classes: Number of logits.
        recipe: Network and seed.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(recipe.seed)
        return build_network(num_classes, recipe.network)


def init_from_train_images(network: nn.Module, train: ImageSet) -> None:
    """Set the values that depend on the training images but are not learned: normalization and whitening filters.

    Args:
        network: Network to initialize, compiled or not. A network that is not a `StagedNetwork` is left as it is.
        train: Training images.
    """
    network = uncompiled(network)
    if not isinstance(network, StagedNetwork):
        return
    network.normalize.set_statistics(*train.mean_and_std)
    device = next(network.parameters()).device
    network.init_from_data(train[:NUM_INIT_IMAGES].images.to(device))
