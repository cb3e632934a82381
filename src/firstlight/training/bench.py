"""bench: how fast this machine is, and how long each recipe takes on it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import pytorch_lightning as pl
import torch

from firstlight.data.batches import Batches, to_unit
from firstlight.data.draws import generator
from firstlight.data.images import ImageSet
from firstlight.data.sampler import EpochSampler
from firstlight.evaluation.views import averaged_logits
from firstlight.networks import build_network
from firstlight.training.module import Classifier
from firstlight.training.recipe import Recipe
from firstlight.training.trainer import Trainer

# Train images, test images, classes, side in pixels: what costs time; the pixels themselves do not.
SIZES = {
    "cifar10": (50_000, 10_000, 10, 32),
    "cifar100": (50_000, 10_000, 100, 32),
    "cifar100-coarse": (50_000, 10_000, 20, 32),
    "drawn": (10_000, 2_000, 10, 32),
    "watermark": (10_000, 2_000, 10, 32),
}
NUM_WARMUP_STEPS = 2
MATMUL_SIZE = 2048


@dataclass(frozen=True)
class Estimate:
    """How long a recipe takes here, from a few steps on made-up images.

    Args:
        images_per_s: in training.
        train_s: of all epochs with their validations.
        test_s: of the test, all its views.
    """

    images_per_s: float
    train_s: float
    test_s: float


def estimate(recipe: Recipe, num_steps: int = 3, **trainer_options: Any) -> Estimate:
    """Train a few steps of a recipe through Lightning, test a batch, and say how long the whole will take.

    Args:
        recipe: of a data set whose size is known beforehand; its own images are not needed.
        num_steps: to measure, after two that warm up.
        **trainer_options: any argument of `pytorch_lightning.Trainer`.
    """
    num_images, num_test, num_classes, side_px = SIZES[recipe.data]
    num_train = num_images - recipe.num_val
    images = _noise(recipe.batch_size * (NUM_WARMUP_STEPS + num_steps), num_classes, side_px)
    module = Classifier(build_network(num_classes, recipe.network), recipe)
    module.network.adopt(to_unit(images.images[: recipe.batch_size]))
    clock = _Clock()
    trainer = Trainer(
        max_epochs=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        limit_val_batches=0,
        **({"enable_model_summary": False, "callbacks": [clock]} | trainer_options),
    )
    sampler = EpochSampler(len(images), recipe.batch_size, shuffle=True, seed=recipe.seed)
    trainer.fit(module, Batches(images, sampler, recipe.augmentation, trainer.strategy.root_device))
    images_per_s = recipe.batch_size * num_steps / clock.seconds
    test_images_per_s = _test_rate(trainer, module, recipe, images)
    val_s = recipe.max_epochs * recipe.num_val / _test_rate(trainer, module, Recipe(), images)
    return Estimate(
        images_per_s=images_per_s,
        train_s=recipe.max_epochs * num_train / images_per_s + (val_s if recipe.num_val else 0.0),
        test_s=num_test / test_images_per_s,
    )


def matmul_rate(dtype: torch.dtype, device: torch.device | str = "cpu", num_trials: int = 5) -> float:
    """Return how many floating-point operations a second a large matrix product makes: the ceiling of all training.

    Args:
        dtype: of the matrices.
        device: where.
        num_trials: of which the fastest counts.
    """
    a, b = (torch.rand(MATMUL_SIZE, MATMUL_SIZE, device=device).to(dtype) for _ in range(2))
    fastest_s = float("inf")
    for _ in range(num_trials):
        started_s = time.perf_counter()
        a @ b
        _wait(torch.device(device))
        fastest_s = min(fastest_s, time.perf_counter() - started_s)
    return 2 * MATMUL_SIZE**3 / fastest_s


def _test_rate(trainer: pl.Trainer, module: Classifier, recipe: Recipe, images: ImageSet) -> float:
    """Test images a second, all views of the recipe counted as one image."""
    device = trainer.strategy.root_device
    network = module.network.to(device).eval()
    batch = to_unit(images.images[: recipe.batch_size].to(device))
    durations_s = []
    with torch.no_grad(), trainer.precision_plugin.forward_context():
        for _ in range(2):  # the first warms up
            started_s = time.perf_counter()
            averaged_logits(network, batch, recipe.views)
            if recipe.views != "single":
                network(batch)  # the single view is measured beside the average
            _wait(device)
            durations_s.append(time.perf_counter() - started_s)
    return len(batch) / durations_s[-1]


def _noise(count: int, num_classes: int, side_px: int) -> ImageSet:
    draw = generator(0, 0, "bench")
    pixels = torch.randint(0, 256, (count, 3, side_px, side_px), dtype=torch.uint8, generator=draw)
    return ImageSet(pixels, torch.arange(count) % num_classes, tuple(map(str, range(num_classes))), name="noise")


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


class _Clock(pl.Callback):
    """Measures from the end of the warm-up to the end of the last step."""

    _started_s = 0.0
    seconds = 0.0

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Start after the warm-up, and stop anew at every step."""
        _wait(trainer.strategy.root_device)
        if batch_idx + 1 == NUM_WARMUP_STEPS:
            self._started_s = time.perf_counter()
        self.seconds = time.perf_counter() - self._started_s
