"""A run folder that is made quickly, without Lightning: an untrained network and its predictions."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from firstlight.data.images import ImageSet
from firstlight.evaluation.predictions import Predictions
from firstlight.networks import ResNet9, ResNet9Config
from firstlight.recipes.config import Recipe
from firstlight.runs.environment import describe_environment
from firstlight.runs.run import Run
from reference.tiny import tiny_split


def unlearned(images: ImageSet, width: int = 2) -> ResNet9:
    """An untrained network with running statistics, whose predictions vary and are mostly wrong."""
    draw = torch.Generator().manual_seed(0)
    network = ResNet9(len(images.class_names), ResNet9Config(width), *images.mean_and_std)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                module.weight.normal_(0, 0.5, generator=draw)
        network.train()
        for _ in range(20):
            network(images.images / 255)
    return network.eval()


def say(network: nn.Module, images: ImageSet) -> Predictions:
    """Return the predictions of a plain forward pass."""
    with torch.no_grad():
        features = network.features(images.images / 255)
        return Predictions(network.head(features), features, images.labels, images.ids)


def make_run(folder: Path) -> Run:
    """Leave a run of the recipe "made" on the data set "tiny" in the folder."""
    train, test = tiny_split("train"), tiny_split("test")
    recipe = Recipe(name="made", data="tiny", num_val=32, network=ResNet9Config(width=2), max_epochs=1, batch_size=32)
    recipe.save(folder / "recipe.yaml")
    run, network = Run(folder), unlearned(train)
    run.save_weights(network, train)
    say(network, test).save(folder / "predictions.npz")
    data = {"name": "tiny", "place": str(folder), "num_images": {"test": len(test)}, "digests": {"test": test.digest()}}
    run.save_json("environment.json", describe_environment() | {"data": data})
    run.save_json("results.json", {"test_acc": run.predictions.accuracy})
    return run
