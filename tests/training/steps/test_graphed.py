"""Recorded steps against the ordinary way of training; what replays them on a GPU is here a stand-in that calls."""

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
from firstlight.training.optimization import build_optimizer
from firstlight.training.steps.graphed import steps_of
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
    # Slow: on noise, at full rates, rounding decides which images are hard.
    optimizer=MuonConfig(learning_rate=0.03, head_rate=8.0, bias_rate=0.6, weight_decay=0.001, whitening_epochs=1.0),
    label_smoothing=0.2,
    max_epochs=4,
    batch_size=16,
)
# Adam divides by the size of a gradient, and so lets the rounding of a tiny one decide on a whole step.
BY_SGD = replace(SPEEDY, optimizer=OptimizerConfig("sgd", learning_rate=0.01), hardest_share=1.0)


class Recording(Classifier):
    """Records where the ordinary module would not, and counts."""

    num_replayed = 0

    def on_train_start(self) -> None:
        self._recorded = self._record(recorder=called)

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
    trainer = Trainer(recipe.max_epochs, accelerator="cpu", **(SILENT | {"precision": "32-true"} | options))
    trainer.fit(module, Batches(images, sampler, recipe.augmentation))
    module.trainer = trainer
    return module


@pytest.mark.parametrize("recipe", [SPEEDY, BY_SGD], ids=["muon", "sgd"])
def test_recorded_steps_train_the_same_network(recipe: Recipe, images: ImageSet) -> None:
    usual, recorded = (trained(kind, recipe, images) for kind in (Classifier, Recording))
    assert recorded.num_replayed == 4 * 4  # of 5 steps in each of 4 epochs the last has too few images
    for (name, expected), found in zip(
        usual.network.state_dict().items(), recorded.network.state_dict().values(), strict=True
    ):
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4, msg=name)
    for name, expected in usual.trainer.callback_metrics.items():
        torch.testing.assert_close(recorded.trainer.callback_metrics[name], expected, rtol=1e-3, atol=1e-4)


def test_a_share_of_the_gradient_is_that_of_the_usual_step(images: ImageSet) -> None:
    """One epoch, in which as many images go back at most as always hold the share."""
    recipe = replace(SPEEDY, gradient_share=0.8, max_epochs=1, batch_size=36)
    usual, recorded = (trained(kind, recipe, images) for kind in (Classifier, Recording))
    assert recorded.num_replayed == 2
    torch.manual_seed(0)
    start = build_network(3, recipe.network)
    usual_move, recorded_move = (
        torch.cat([(b - a).flatten() for a, b in zip(start.parameters(), module.network.parameters(), strict=True)])
        for module in (usual, recorded)
    )
    # Batch norm's sums are over the images that go back: here these are some more than hold the share.
    assert torch.nn.functional.cosine_similarity(usual_move, recorded_move, dim=0) > 0.95


def test_after_the_training_nothing_is_kept(images: ImageSet) -> None:
    module = trained(Recording, SPEEDY, images)
    assert module._recorded is None
    assert module.network.get_submodule("whiten.conv").bias.requires_grad


@pytest.mark.parametrize(
    "options",
    [{"accumulate_grad_batches": 2}, {"gradient_clip_val": 1.0}, {"detect_anomaly": True}, {"precision": "64-true"}],
    ids=lambda options: next(iter(options)),
)
def test_what_is_not_usual_is_not_recorded(options: dict[str, Any], images: ImageSet) -> None:
    assert trained(Recording, SPEEDY, images, **options).num_replayed == 0


def test_a_network_with_a_hook_is_not_recorded(images: ImageSet) -> None:
    class Hooked(Recording):
        def on_fit_start(self) -> None:
            self.network.get_submodule("group1").register_forward_hook(lambda *_: None)

    assert trained(Hooked, SPEEDY, images).num_replayed == 0


def test_on_a_cpu_steps_are_plain(images: ImageSet) -> None:
    seen = []

    class Watching(Classifier):
        def on_train_batch_end(self, *args: Any) -> None:
            seen.append((self._recorded, self._has_gradients))

    trained(Watching, SPEEDY, images)
    assert set(seen) == {(None, False)}


@pytest.mark.parametrize(
    ("steps", "error", "message"),
    [
        ("recorded", torch.OutOfMemoryError("CUDA out of memory."), "batch_size smaller, or steps plain"),
        (
            "compiled",
            RuntimeError("Unsupported: such a layer\nand much more"),
            r"here \(Unsupported: such a layer\): leave them",
        ),
    ],
)
def test_what_cannot_be_recorded_says_how_to_go_on(
    steps: Steps, error: Exception, message: str, images: ImageSet
) -> None:
    def failing(*_: Any) -> None:
        raise error

    class Failing(Classifier):
        def on_train_start(self) -> None:
            self.steps = steps
            self._record(recorder=failing)

    with pytest.raises(UsageError, match=message):
        trained(Failing, SPEEDY, images)


def test_the_course_changes_kind_where_the_recipe_says_so(images: ImageSet) -> None:
    network = build_network(3, SPEEDY.network)
    recipe = replace(SPEEDY, gradient_share=0.8)
    optimizer = build_optimizer(recipe.optimizer, network)
    sampler = EpochSampler(len(images), 16, shuffle=True, seed=0)
    kinds = steps_of(network, recipe, optimizer, Batches(images, sampler), range(20))
    assert [kind.shape[2] for kind in kinds] == [24] * 12 + [28] * 2 + [32] * 6
    assert [all(kind.learns) for kind in kinds] == [True] * 5 + [False] * 15  # the whitening's bias, for one epoch of 4
    assert {kind.learns.count(False) for kind in kinds} == {0, 1}
    assert [kind.num_kept for kind in kinds] == [13] * 9 + [9] * 11  # 0.8 and 0.53 of 16; from three sevenths on
    assert steps_of(network, recipe, optimizer, Batches(images, sampler), range(12, 20)) == kinds[12:]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("steps", ["recorded", "compiled"])
def test_on_a_gpu_the_recorded_network_is_the_plain_one(steps: Steps, images: ImageSet) -> None:
    found = {}
    for way in ("plain", steps):
        torch.manual_seed(0)
        network = build_network(3, SPEEDY.network)
        network.adopt(images.images)
        module = Classifier(network, SPEEDY)
        module.steps = way
        sampler = EpochSampler(len(images), 16, shuffle=True, seed=0, hardest_share=0.6)
        trainer = Trainer(2, accelerator="gpu", devices=1, precision="32-true", **SILENT)
        trainer.fit(module, Batches(images, sampler, SPEEDY.augmentation, "cuda"))
        found[way] = network.state_dict()
    for name, expected in found["plain"].items():
        torch.testing.assert_close(found[steps][name], expected, rtol=0.05, atol=0.05, msg=name)
