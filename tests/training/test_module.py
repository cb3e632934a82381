from __future__ import annotations

import copy
import itertools
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from firstlight.networks.resnet9 import ResNet9, ResNet9Config
from firstlight.recipes.config import MuonConfig, OptimizerConfig, Recipe
from firstlight.training.data_module import ImageData
from firstlight.training.module import AVERAGING_EVERY_N_STEPS, Classifier
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


def test_without_averaging_the_weights_are_those_of_the_last_step(tiny: str) -> None:
    module, _, seen = train(Recipe(data=tiny, num_val=32, batch_size=16, optimizer=SGD), num_epochs=1)
    assert all(torch.equal(value, seen[-1][name]) for name, value in module.network.named_parameters())


@pytest.mark.parametrize(("precision", "dtype"), [("32-true", None), ("bf16-mixed", torch.bfloat16)])
def test_muon_multiplies_in_the_precision_of_the_training(precision: str, dtype: torch.dtype | None) -> None:
    module = Classifier(ResNet9(4, ResNet9Config(width=4)), Recipe(optimizer=MuonConfig()))
    module._trainer = SimpleNamespace(precision=precision, estimated_stepping_batches=10, max_epochs=24)  # type: ignore[assignment]
    assert module.configure_optimizers()["optimizer"].matmul_dtype == dtype


def test_later_epochs_consist_of_the_images_with_the_largest_loss(tiny: str) -> None:
    """Compare with the losses of every step's own logits."""
    seen: list[list[tuple[int, float]]] = []

    class Watched(Classifier):
        def on_train_epoch_start(self) -> None:
            seen.append([])

        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            with torch.no_grad():
                state = {name: value.clone() for name, value in self.network.state_dict().items()}
                losses = -self.network(batch.images).log_softmax(dim=1)[torch.arange(len(batch.ids)), batch.labels]
                self.network.load_state_dict(state)  # batch norm has counted this batch
            seen[-1] += zip(batch.ids.tolist(), losses.tolist(), strict=True)
            return super().training_step(batch, batch_idx)

    recipe = Recipe(data=tiny, num_val=32, batch_size=16, optimizer=SGD, hardest_share=0.6, label_smoothing=0.2)
    torch.manual_seed(0)
    module = Watched(ResNet9(4, ResNet9Config(width=4)), recipe)
    options: dict[str, Any] = {"logger": False, "enable_checkpointing": False, "precision": "32-true"}
    data = ImageData(recipe)
    Trainer(max_epochs=4, enable_progress_bar=False, enable_model_summary=False, **options).fit(module, datamodule=data)
    last: dict[int, float] = {}
    assert sorted(id_ for id_, _ in seen[0]) == sorted(data.train.ids.tolist())
    for before, now in itertools.pairwise(seen):
        of_epoch: dict[int, list[float]] = {}
        for id_, loss in before:
            of_epoch.setdefault(id_, []).append(loss)
        last |= {id_: sum(losses) / len(losses) for id_, losses in of_epoch.items()}
        hardest = sorted(last, key=lambda id_: -last[id_])[: round(0.6 * len(data.train))]
        assert {id_ for id_, _ in now} == set(hardest)
        assert len(now) == len(data.train)


def test_a_step_computes_gradients_of_the_images_with_the_largest_ones() -> None:
    """The returned loss has only those images; the logged loss has all."""
    torch.manual_seed(0)
    recipe = Recipe(optimizer=SGD, gradient_share=0.5, label_smoothing=0.2)
    module = Classifier(ResNet9(4, ResNet9Config(width=4)), recipe).train()
    with torch.no_grad():
        module.network.head.weight.mul_(3)  # so that gradients differ
    module.log_dict = lambda *_, **__: None  # type: ignore[method-assign]
    seen: list[dict[str, Tensor]] = []
    module.unlogged_means.add = lambda means, count: seen.append(means)  # type: ignore[method-assign]
    module.unlogged_means.take = lambda: ({}, 10)  # type: ignore[method-assign]
    images, labels = torch.rand(10, 3, 16, 16), torch.arange(10) % 4
    twin = copy.deepcopy(module.network)
    loss = module.training_step((images, labels), batch_idx=1)
    loss.backward()

    logits = twin(images)
    losses = torch.stack([F.cross_entropy(z, y, label_smoothing=0.2) for z, y in zip(logits, labels, strict=True)])
    norms = torch.autograd.grad(losses.sum(), logits, retain_graph=True)[0].norm(dim=1).tolist()
    chosen: list[int] = []
    while sum(norms[place] for place in chosen) < 0.5 * sum(norms):
        chosen.append(max(set(range(10)) - set(chosen), key=lambda place: norms[place]))
    assert len(chosen) < 5
    torch.testing.assert_close(loss.detach(), losses[chosen].sum().detach() / 10)
    torch.testing.assert_close(seen[0]["train_loss"].detach(), losses.mean().detach())
    (expected,) = torch.autograd.grad(losses[chosen].sum() / 10, twin.head.weight)
    torch.testing.assert_close(module.network.head.weight.grad, expected)


def test_a_recipe_with_views_logs_a_second_accuracy(tiny: str) -> None:
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
