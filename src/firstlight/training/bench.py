"""Estimate how fast this machine is, and how long each recipe takes on it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytorch_lightning as pl
import torch

from firstlight.augment.progressive import ProgressiveResizing
from firstlight.data.batches import Batches, to_unit
from firstlight.data.images import ImageSet
from firstlight.data.rng import generator
from firstlight.data.sampler import EpochSampler
from firstlight.evaluation.tta_views import expected_passes
from firstlight.networks import build_network
from firstlight.recipes.config import Recipe
from firstlight.training.callbacks.step_clock import StepClock, synchronized_time_s
from firstlight.training.module import Classifier
from firstlight.training.steps.importance import expected_image_share
from firstlight.training.trainer import SILENT, Trainer

# Number of training images, of test images and of classes, and image side in pixels, by data set. The durations depend
# on these numbers, not on the values of the pixels.
SIZES = {
    "cifar10": (50_000, 10_000, 10, 32),
    "cifar100": (50_000, 10_000, 100, 32),
    "cifar100-coarse": (50_000, 10_000, 20, 32),
    "drawn": (10_000, 2_000, 10, 32),
    "watermark": (10_000, 2_000, 10, 32),
}
NUM_WARMUP_STEPS = 2
SMALLEST_MATMUL, LARGEST_MATMUL = 128, 2048
LONGEST_MATMUL_S = 0.2


@dataclass(frozen=True)
class Estimate:
    """Estimated duration of a recipe on this machine, from a few steps on noise images.

    Args:
        images_per_s: Training images per second, averaged over all image sizes of the recipe.
        train_s: Duration of all epochs and validations.
        test_s: Duration of the test with the recipe's views; `expected_passes` estimates their number.
    """

    images_per_s: float
    train_s: float
    test_s: float


def estimate(recipe: Recipe, num_steps: int = 3, **trainer_options: Any) -> Estimate:
    """Train a few steps of a recipe through Lightning, test a batch, and extrapolate to the whole training.

    Args:
        recipe: Recipe of a data set in `SIZES`; its images are not needed.
        num_steps: Measured steps at each image size of the training, after two warm-up steps.
        **trainer_options: Any argument of `pytorch_lightning.Trainer`.
    """
    num_images, num_test, num_classes, side_px = SIZES[recipe.data]
    num_train = num_images - recipe.num_val
    images = noise_images(recipe.batch_size * (NUM_WARMUP_STEPS + num_steps), num_classes, side_px)
    module = Classifier(build_network(num_classes, recipe.network), recipe)
    module.network.init_from_data(images.images[: recipe.batch_size])
    image_s = 0.0
    for trained_px, share in recipe.resizing.shares(side_px).items():
        module.recipe = replace(
            recipe,
            resizing=_always(recipe.resizing, trained_px / side_px),
            # The gradients of noise images are of similar size: a share of their norm needs the same share of images.
            gradient_share=expected_image_share(recipe.gradient_share),
        )
        clock = StepClock(NUM_WARMUP_STEPS)
        # The recipe's number of epochs makes the schedule freeze layers after the same share of the steps.
        limits = {"max_epochs": recipe.max_epochs, "max_steps": NUM_WARMUP_STEPS + num_steps, "limit_val_batches": 0}
        trainer = Trainer(callbacks=[clock], **(SILENT | limits | trainer_options))
        sampler = EpochSampler(len(images), recipe.batch_size, shuffle=True, seed=recipe.seed)
        trainer.fit(module, Batches(images, sampler, recipe.augmentation, trainer.strategy.root_device))
        image_s += share * clock.seconds / (recipe.batch_size * num_steps)
    train_s = recipe.max_epochs * num_train * image_s
    test_rate = _test_rate(trainer, module, images, recipe.batch_size)
    test_s = num_test * expected_passes(recipe.views, recipe.views_margin) / test_rate
    train_s += recipe.max_epochs * recipe.num_val / test_rate
    return Estimate(1 / image_s, train_s, test_s)


def _always(resizing: ProgressiveResizing, scale: float) -> ProgressiveResizing:
    """Return a resizing that keeps one image size throughout the training."""
    return replace(resizing, initial_scale=scale, delay_fraction=1.0, finetune_fraction=0.0, size_increment_px=1)


def matmul_rate(dtype: torch.dtype, device: torch.device | str = "cpu", num_trials: int = 5) -> float:
    """Return the floating-point operations per second of a large matrix product, an upper bound for every training.

    The matrices have up to 2,048 rows, or fewer if their product would take much longer than 0.2 seconds: CPUs without
    instructions for bfloat16 emulate it hundreds of times more slowly.

    Args:
        dtype: Type of the matrices.
        device: Device of the matrices.
        num_trials: Number of products; the fastest counts.
    """
    size = SMALLEST_MATMUL
    seconds = _fastest_matmul_s(size, dtype, torch.device(device), num_trials)
    while size < LARGEST_MATMUL and 8 * seconds < LONGEST_MATMUL_S:  # twice the size takes eight times as long
        size *= 2
        seconds = _fastest_matmul_s(size, dtype, torch.device(device), num_trials)
    return 2 * size**3 / seconds


def _fastest_matmul_s(size: int, dtype: torch.dtype, device: torch.device, num_trials: int) -> float:
    a, b = (torch.rand(size, size, device=device).to(dtype) for _ in range(2))
    durations_s = []
    for _ in range(num_trials):
        started_s = synchronized_time_s(device)
        a @ b
        durations_s.append(synchronized_time_s(device) - started_s)
    return min(durations_s)


def _test_rate(trainer: pl.Trainer, module: Classifier, images: ImageSet, batch_size: int) -> float:
    """Return the test images per second, with a single view."""
    device = trainer.strategy.root_device
    network = module.network.to(device).eval()
    batch = to_unit(images.images[:batch_size].to(device))
    durations_s = []
    with torch.no_grad(), trainer.precision_plugin.forward_context():
        for _ in range(2):  # the first warms up
            started_s = synchronized_time_s(device)
            network(batch)
            durations_s.append(synchronized_time_s(device) - started_s)
    return len(batch) / durations_s[-1]


def noise_images(count: int, num_classes: int = 10, side_px: int = 32) -> ImageSet:
    """Return random images, for measurements that depend only on their number and size."""
    draw = generator(0, 0, "bench")
    pixels = torch.randint(0, 256, (count, 3, side_px, side_px), dtype=torch.uint8, generator=draw)
    return ImageSet(pixels, torch.arange(count) % num_classes, tuple(map(str, range(num_classes))), name="noise")
