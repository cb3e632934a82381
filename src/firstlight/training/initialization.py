"""Initialize the weights of a network: from the recipe's seed, and from the training images."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from firstlight.data.images import ImageSet
from firstlight.layers.normalize import CIFAR10_MEAN, CIFAR10_STD
from firstlight.networks import StagedNetwork, build_network
from firstlight.recipes.config import Recipe

NUM_INIT_IMAGES = 5000  # training images from which data-dependent weights are initialized


def seeded_network(
    num_classes: int, recipe: Recipe, mean: Sequence[float] = CIFAR10_MEAN, std: Sequence[float] = CIFAR10_STD
) -> StagedNetwork:
    """Build the network of a recipe with weights drawn from the recipe's seed; PyTorch's own generator is untouched.

    Args:
        num_classes: Number of logits.
        recipe: Network and seed.
        mean: Mean of the training images in [0, 1], one for each colour channel.
        std: Standard deviation of the training images, one for each colour channel.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(recipe.seed)
        return build_network(num_classes, recipe.network, mean, std)


def init_from_train_images(network: StagedNetwork, train: ImageSet) -> None:
    """Set what depends on the training images but is not learned: the normalization, and whitening filters."""
    network.normalize.adopt(*train.mean_and_std)
    device = next(network.parameters()).device
    network.init_from_data(train.images[:NUM_INIT_IMAGES].to(device))
