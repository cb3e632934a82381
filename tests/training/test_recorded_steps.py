"""Recorded steps against the ordinary way of training; what replays them on a GPU is here a stand-in that calls."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from firstlight.data.batches import Augmentation, Batches
from firstlight.data.images import ImageSet
from firstlight.data.sampler import EpochSampler
from firstlight.networks import build_network
from firstlight.networks.speednet import SpeedNetConfig
from firstlight.training.module import Classifier
from firstlight.training.recipe import MuonConfig, OptimizerConfig, Recipe
from firstlight.training.recorded_steps import recorded_steps
from firstlight.training.resizing import ProgressiveResizing
from firstlight.training.trainer import SILENT, Trainer

SPEEDY = Recipe(
    name="speedy",
    data="drawn",
    num_val=0,
    network=SpeedNetConfig(width=4, pad_patches=True, deep_groups=1),
    augmentation=Augmentation(crop_px=2, flip="alternating"),
    resizing=ProgressiveResizing("crop", initial_scale=0.75, delay_fraction=0.5, finetune_fraction=0.25),
    hardest_share=0.6,
    optimizer=MuonConfig(learning_rate=0.12, head_rate=33.0, bias_rate=2.6, weight_decay=0.001, whitening_epochs=1.0),
    label_smoothing=0.2,
    max_epochs=4,
    batch_size=16,
)
BY_ADAM = replace(SPEEDY, optimizer=OptimizerConfig("adam"), hardest_share=1.0)


def called(function: Callable[..., Any], inputs: Sequence[Tensor], changed: Iterable[Tensor] = ()) -> Any:
    """Stand for `record`: try, undo, and then do the same each time on the same tensors, as a graph would."""
    mine, changed = [each.clone() for each in inputs], list(changed)
    before = [each.detach().clone() for each in changed]
    function(*mine)
    with torch.no_grad():
        for each, value in zip(changed, before, strict=True):
            each.copy_(value)

    def replay(*given: Tensor) -> Any:
        for each, value in zip(mine, given, strict=True):
            assert each.shape == value.shape
            each.copy_(value)
        return function(*mine)

    return replay


class Recording(Classifier):
    """Records where the ordinary module would not, and counts."""

    num_replayed = 0

    def on_train_start(self) -> None:
        self._recorded = recorded_steps(self.trainer, self.network, self.recipe, recorder=called)

    def on_train_batch_end(self, *args: Any) -> None:
        self.num_replayed += self._has_gradients


@pytest.fixture
def images() -> ImageSet:
    draw = torch.Generator().manual_seed(0)
    labels = torch.arange(72) % 3
    pixels = torch.randint(0, 256, (72, 3, 32, 32), dtype=torch.uint8, generator=draw)
    return ImageSet(pixels, labels, ("a", "b", "c"), name="noise")


def trained(kind: type[Classifier], recipe: Recipe, images: ImageSet, **options: Any) -> Classifier:
    torch.manual_seed(0)
    network = build_network(3, recipe.network)
    network.adopt(images.images)
    module = kind(network, recipe)
    sampler = EpochSampler(len(images), recipe.batch_size, shuffle=True, seed=0, hardest_share=recipe.hardest_share)
    trainer = Trainer(recipe.max_epochs, accelerator="cpu", precision="32-true", **(SILENT | options))
    trainer.fit(module, Batches(images, sampler, recipe.augmentation))
    module.trainer = trainer
    return module


@pytest.mark.parametrize("recipe", [SPEEDY, BY_ADAM], ids=["muon", "adam"])
def test_recorded_steps_train_the_same_network(recipe, images):
    usual, recorded = (trained(kind, recipe, images) for kind in (Classifier, Recording))
    assert recorded.num_replayed == 4 * 4  # of 5 steps in each of 4 epochs the last has too few images
    for (name, expected), found in zip(
        usual.network.state_dict().items(), recorded.network.state_dict().values(), strict=True
    ):
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4, msg=name)
    for name, expected in usual.trainer.callback_metrics.items():
        torch.testing.assert_close(recorded.trainer.callback_metrics[name], expected, rtol=1e-3, atol=1e-4)
