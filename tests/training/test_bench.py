from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor

from firstlight.augment.progressive import ProgressiveResizing
from firstlight.data.drawn import read_drawn
from firstlight.networks import ResNet9, ResNet9Config, SpeedNetConfig
from firstlight.recipes import RECIPES, get_recipe
from firstlight.training import bench
from firstlight.training.bench import SIZES, estimate, matmul_rate
from firstlight.training.module import Classifier
from firstlight.training.steps.importance import expected_image_share, largest_gradients
from firstlight.training.trainer import SILENT, Trainer

TINY = replace(get_recipe("demo"), network=ResNet9Config(width=2), batch_size=16)
EPOCHS = TINY.max_epochs


def test_the_estimate_is_the_number_of_images_over_the_rate() -> None:
    found = estimate(TINY, num_steps=2)
    assert found.train_s >= EPOCHS * 9000 / found.images_per_s  # and the validations
    without_val = estimate(replace(TINY, num_val=0), num_steps=2)
    assert without_val.train_s == pytest.approx(EPOCHS * 10_000 / without_val.images_per_s)
    assert 0 < found.test_s < found.train_s


def test_every_image_size_is_measured_and_weighted_by_its_share(monkeypatch: pytest.MonkeyPatch) -> None:
    sides_px: list[int] = []
    apply = ProgressiveResizing.apply

    def watched(how: ProgressiveResizing, images: Tensor, progress: float) -> Tensor:
        grown = apply(how, images, progress)
        sides_px.append(grown.shape[-1])
        return grown

    class Clock(pl.Callback):
        def __init__(self, num_warmup_steps: int) -> None:
            self.seconds = 1.0 if not sides_px else 3.0  # seconds of two steps on small images, then on full-size ones

    monkeypatch.setattr(ProgressiveResizing, "apply", watched)
    monkeypatch.setattr(bench, "StepClock", Clock)
    small_at_first = ProgressiveResizing(initial_scale=0.5, delay_fraction=0.8)
    found = estimate(replace(TINY, num_val=0, resizing=small_at_first), num_steps=2)
    assert sides_px == [16] * 4  # full-size images are not resized
    assert found.images_per_s == pytest.approx(2 * 16 / (0.8 * 1.0 + 0.2 * 3.0))
    assert found.train_s == pytest.approx(EPOCHS * 10_000 / found.images_per_s)


def test_a_share_of_the_gradient_is_measured_with_its_expected_images(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shares: list[float] = []

    def watched(*arguments: Any) -> Tensor:
        chosen = largest_gradients(*arguments)
        shares.append(float(chosen.mean()))
        return chosen

    monkeypatch.setattr("firstlight.training.steps.step.largest_gradients", watched)
    estimate(replace(TINY, num_val=0, gradient_share=0.75), num_steps=2)
    assert shares == pytest.approx([expected_image_share(0.75)] * 4, abs=0.1)


def test_the_test_has_one_pass_per_view_and_a_validation_one_pass(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bench, "_test_rate", lambda *args: 100.0)
    recipe = replace(TINY, network=SpeedNetConfig(width=2), num_val=0)
    num_test = SIZES["drawn"][1]
    assert estimate(recipe, 1).test_s == pytest.approx(num_test / 100)
    assert estimate(replace(recipe, views="flip_shift"), 1).test_s == pytest.approx(6 * num_test / 100)
    assert num_test / 100 < estimate(replace(recipe, views="flip_star", views_margin=0.6), 1).test_s < num_test / 10
    validated = estimate(replace(recipe, num_val=1000), 1)
    trained_s = EPOCHS * 9000 / validated.images_per_s
    assert validated.train_s == pytest.approx(trained_s + EPOCHS * 1000 / 100)


def test_the_rate_of_the_test_is_that_of_the_network() -> None:
    trainer = Trainer(max_epochs=1, **SILENT)
    module = Classifier(ResNet9(10, ResNet9Config(width=2)))
    seen: list[int] = []
    module.network.register_forward_hook(lambda _, args, out: seen.append(len(args[0])))
    assert bench._test_rate(trainer, module, bench.noise_images(40), 16) > 0
    assert seen == [16, 16]


def test_the_data_set_of_every_recipe_has_a_size() -> None:
    assert {get_recipe(name).data for name in RECIPES} <= set(SIZES)
    for split, count in zip(("train", "test"), SIZES["drawn"][:2], strict=True):
        assert len(read_drawn(split)) == count


def test_the_rate_of_a_matrix_product_is_positive() -> None:
    assert matmul_rate(torch.float32, num_trials=1) > 1e6


@pytest.mark.parametrize(("seconds", "size"), [(1e-5, 2048), (0.01, 256), (1.0, 128)])
def test_products_that_would_take_long_are_not_made(monkeypatch: pytest.MonkeyPatch, seconds: float, size: int) -> None:
    """A product of 128 rows takes so many seconds, and one of twice the rows eight times as many."""
    sizes = []

    def duration_s(size: int, *_: object) -> float:
        sizes.append(size)
        return seconds * (size / 128) ** 3

    monkeypatch.setattr(bench, "_fastest_matmul_s", duration_s)
    assert matmul_rate(torch.float32) == pytest.approx(2 * 128**3 / seconds)
    assert max(sizes) == size
