from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from firstlight.networks.resnet9 import ResNet9, ResNet9Config
from firstlight.training.data_module import ImageData
from firstlight.training.module import AVERAGING_EVERY_N_STEPS, Classifier
from firstlight.training.recipe import OptimizerConfig, Recipe
from firstlight.training.trainer import Trainer

SGD = OptimizerConfig(name="sgd", learning_rate=0.1, momentum=0.9, weight_decay=0.01)


def train(recipe: Recipe, num_epochs: int = 2) -> tuple[Classifier, Trainer, list[dict[str, Tensor]]]:
    """Train on the tiny set; returns the weights after every step, too."""
    torch.manual_seed(0)
    seen: list[dict[str, Tensor]] = []

    class Watched(Classifier):
        def on_train_batch_end(self, *arguments: Any) -> None:
            seen.append({name: value.detach().clone() for name, value in self.network.named_parameters()})

    module = Watched(ResNet9(4, ResNet9Config(width=4)), recipe)
    trainer = Trainer(
        max_epochs=num_epochs,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        precision="32-true",
    )
    trainer.fit(module, datamodule=ImageData(recipe))
    return module, trainer, seen


def test_the_trained_weights_are_the_moving_average_of_every_fifth_step(tiny: str) -> None:
    recipe = Recipe(data=tiny, num_val=32, batch_size=16, optimizer=SGD, averaging=0.9)
    module, _, seen = train(recipe)
    assert len(seen) >= 4 * AVERAGING_EVERY_N_STEPS
    expected = seen[0]
    for weights in seen[AVERAGING_EVERY_N_STEPS::AVERAGING_EVERY_N_STEPS]:
        expected = {name: 0.9**5 * value + (1 - 0.9**5) * weights[name] for name, value in expected.items()}
    for name, value in module.network.named_parameters():
        torch.testing.assert_close(value, expected[name])
    assert not torch.equal(seen[-1]["head.weight"], module.network.head.weight)


def test_without_averaging_the_trained_weights_are_the_last_step_s(tiny: str) -> None:
    module, _, seen = train(Recipe(data=tiny, num_val=32, batch_size=16, optimizer=SGD), num_epochs=1)
    assert all(torch.equal(value, seen[-1][name]) for name, value in module.network.named_parameters())


def test_a_recipe_with_views_has_its_second_accuracy_beside_the_first(tiny: str) -> None:
    module, trainer, _ = train(Recipe(data=tiny, num_val=32, batch_size=16, optimizer=SGD, views="flip"), num_epochs=4)
    data = ImageData(module.recipe)
    (metrics,) = trainer.test(module, datamodule=data, verbose=False)
    module.network.eval()
    images, labels = data.test.images.float() / 255, data.test.labels
    with torch.no_grad():
        both = (module.network(images) + module.network(images.flip(3))) / 2
        right = (both.argmax(dim=1) == labels).double().mean()
    assert metrics["test_acc_tta"] == pytest.approx(float(right), abs=1e-6)
    assert module.test_predictions is not None
    assert metrics["test_acc"] == pytest.approx(module.test_predictions.accuracy, abs=1e-6)
