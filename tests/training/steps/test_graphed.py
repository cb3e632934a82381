"""Captured steps against steps by autograd; the CUDA graph is replaced by a function that calls the step."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from firstlight.augment.progressive import ProgressiveResizing
from firstlight.data.batches import Augmentation, Batches
from firstlight.data.images import ImageSet
from firstlight.data.sampler import EpochSampler
from firstlight.errors import UsageError
from firstlight.networks import build_network
from firstlight.networks.speednet import SpeedNetConfig
from firstlight.recipes.config import MuonConfig, OptimizerConfig, Recipe
from firstlight.runs.options import Steps
from firstlight.training.module import Classifier
from firstlight.training.optimizers import build_optimizer
from firstlight.training.steps.graphed import StepGraphs, capture_steps, step_shapes
from firstlight.training.steps.step import AutogradStep
from firstlight.training.trainer import SILENT, Trainer
from reference.recording import called

SPEEDY = Recipe(
    name="speedy",
    data="drawn",
    num_val=0,
    network=SpeedNetConfig(width=4, pad_patches=True, deep_groups=1),
    augmentation=Augmentation(crop_px=2, flip="alternating"),
    resizing=ProgressiveResizing("crop", initial_scale=0.75, delay_fraction=0.5, finetune_fraction=0.25),
    hardest_share=0.6,
    # Slow: on noise, rounding decides which images are hard.
    optimizer=MuonConfig(learning_rate=0.03, head_rate=8.0, bias_rate=0.6, weight_decay=0.001, whitening_epochs=1.0),
    label_smoothing=0.2,
    max_epochs=4,
    batch_size=16,
)
# Adam divides by the size of a gradient, so the rounding of a tiny one can change a whole step.
BY_SGD = replace(SPEEDY, optimizer=OptimizerConfig("sgd", learning_rate=0.01), hardest_share=1.0)


class Captured(Classifier):
    """Captures steps on a CPU, too, and counts the replays."""

    num_replayed = 0
    capture = staticmethod(called)

    def _captured_steps(self, weights: Any) -> StepGraphs | None:
        return capture_steps(self.trainer, self.network, self.recipe, self.steps, weights, self.capture)

    def on_train_batch_end(self, *args: Any) -> None:
        self.num_replayed += getattr(self._step, "_is_replayed", False)


@pytest.fixture
def images() -> ImageSet:
    draw = torch.Generator().manual_seed(0)
    labels = torch.arange(72) % 3
    pixels = torch.randint(0, 256, (72, 3, 32, 32), dtype=torch.uint8, generator=draw)
    return ImageSet(pixels, labels, ("a", "b", "c"), name="noise")


def trained(
    kind: type[Classifier], recipe: Recipe, images: ImageSet, steps: Steps = "recorded", **options: Any
) -> Classifier:
    torch.manual_seed(0)
    network = build_network(3, recipe.network)
    network.init_from_data(images.images)
    module = kind(network, recipe, steps)
    sampler = EpochSampler(len(images), recipe.batch_size, shuffle=True, seed=0, hardest_share=recipe.hardest_share)
    trainer = Trainer(recipe.max_epochs, accelerator="cpu", **(SILENT | {"precision": "32-true"} | options))
    trainer.fit(module, Batches(images, sampler, recipe.augmentation))
    module.trainer = trainer
    return module


@pytest.mark.parametrize("recipe", [SPEEDY, BY_SGD], ids=["muon", "sgd"])
def test_captured_steps_train_the_same_network(recipe: Recipe, images: ImageSet) -> None:
    plain, captured = (trained(kind, recipe, images) for kind in (Classifier, Captured))
    assert captured.num_replayed == 4 * 4  # 4 epochs of 5 steps; the last step of each has fewer images
    for (name, expected), found in zip(
        plain.network.state_dict().items(), captured.network.state_dict().values(), strict=True
    ):
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4, msg=name)
    for name, expected in plain.trainer.callback_metrics.items():
        torch.testing.assert_close(captured.trainer.callback_metrics[name], expected, rtol=1e-3, atol=1e-4)


def test_a_share_of_the_gradient_equals_that_of_an_autograd_step(images: ImageSet) -> None:
    """In the first epoch, the number of images in the backward pass is always enough for the share."""
    recipe = replace(SPEEDY, gradient_share=0.8, max_epochs=1, batch_size=36)
    plain, captured = (trained(kind, recipe, images) for kind in (Classifier, Captured))
    assert captured.num_replayed == 2
    torch.manual_seed(0)
    start = build_network(3, recipe.network)
    plain_move, captured_move = (
        torch.cat([(b - a).flatten() for a, b in zip(start.parameters(), module.network.parameters(), strict=True)])
        for module in (plain, captured)
    )
    # Batch norm sums over the images of the backward pass, which are slightly more than hold the share.
    assert torch.nn.functional.cosine_similarity(plain_move, captured_move, dim=0) > 0.95


def test_captured_steps_are_freed_after_the_training(images: ImageSet) -> None:
    module = trained(Captured, SPEEDY, images)
    assert type(module._step) is AutogradStep
    assert module.network.get_submodule("whiten.conv").bias.requires_grad


@pytest.mark.parametrize(
    "options",
    [{"accumulate_grad_batches": 2}, {"gradient_clip_val": 1.0}, {"detect_anomaly": True}, {"precision": "64-true"}],
    ids=lambda options: next(iter(options)),
)
def test_unsupported_trainings_are_not_captured(options: dict[str, Any], images: ImageSet) -> None:
    assert trained(Captured, SPEEDY, images, **options).num_replayed == 0


def test_a_network_with_a_hook_is_not_captured(images: ImageSet) -> None:
    class Hooked(Captured):
        def on_fit_start(self) -> None:
            self.network.get_submodule("group1").register_forward_hook(lambda *_: None)

    assert trained(Hooked, SPEEDY, images).num_replayed == 0


def test_on_a_cpu_steps_are_plain(images: ImageSet) -> None:
    seen = []

    class Watching(Classifier):
        def on_train_batch_end(self, *args: Any) -> None:
            seen.append(type(self._step))

    trained(Watching, SPEEDY, images)
    assert set(seen) == {AutogradStep}


@pytest.mark.parametrize(
    ("steps", "error", "message"),
    [
        ("recorded", torch.OutOfMemoryError("CUDA out of memory."), "use a smaller --batch_size, or --steps plain"),
        (
            "compiled",
            RuntimeError("Unsupported: such a layer\nand much more"),
            r"here \(Unsupported: such a layer\): choose --steps recorded",
        ),
    ],
)
def test_errors_of_the_capture_say_what_to_do(steps: Steps, error: Exception, message: str, images: ImageSet) -> None:
    def failing(*_: Any) -> None:
        raise error

    class Failing(Captured):
        capture = staticmethod(failing)

    with pytest.raises(UsageError, match=message):
        trained(Failing, SPEEDY, images, steps)


def test_the_shape_of_a_step_changes_where_the_recipe_says_so(images: ImageSet) -> None:
    network = build_network(3, SPEEDY.network)
    recipe = replace(SPEEDY, gradient_share=0.8)
    optimizer = build_optimizer(recipe.optimizer, network)
    sampler = EpochSampler(len(images), 16, shuffle=True, seed=0)
    shapes = step_shapes(network, recipe, optimizer, Batches(images, sampler), range(20))
    assert [shape.images[2] for shape in shapes] == [24] * 12 + [28] * 2 + [32] * 6
    assert [all(shape.requires_grad) for shape in shapes] == [True] * 5 + [
        False
    ] * 15  # the whitening bias learns in one of 4 epochs
    assert {shape.requires_grad.count(False) for shape in shapes} == {0, 1}
    assert [shape.max_images for shape in shapes] == [13] * 9 + [
        9
    ] * 11  # 0.8 of 16 images, then 0.53 of them after three sevenths
    assert step_shapes(network, recipe, optimizer, Batches(images, sampler), range(12, 20)) == shapes[12:]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("steps", ["recorded", "compiled"])
def test_on_a_gpu_recorded_steps_train_the_network_of_plain_steps(steps: Steps, images: ImageSet) -> None:
    found = {}
    for choice in ("plain", steps):
        torch.manual_seed(0)
        network = build_network(3, SPEEDY.network)
        network.init_from_data(images.images)
        module = Classifier(network, SPEEDY, choice)
        sampler = EpochSampler(len(images), 16, shuffle=True, seed=0, hardest_share=0.6)
        trainer = Trainer(2, accelerator="gpu", devices=1, precision="32-true", **SILENT)
        trainer.fit(module, Batches(images, sampler, SPEEDY.augmentation, "cuda"))
        found[choice] = network.state_dict()
    for name, expected in found["plain"].items():
        torch.testing.assert_close(found[steps][name], expected, rtol=0.05, atol=0.05, msg=name)
