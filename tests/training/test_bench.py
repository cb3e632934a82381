from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor

from firstlight.data.drawn import read_drawn
from firstlight.networks import ResNet9Config, SpeedNetConfig
from firstlight.recipes import RECIPES, get_recipe
from firstlight.training import bench
from firstlight.training.bench import SIZES, estimate, matmul_rate
from firstlight.training.resizing import ProgressiveResizing

TINY = replace(get_recipe("demo"), network=ResNet9Config(width=2), batch_size=16)


def test_a_recipe_s_time_is_its_images_over_the_rate() -> None:
    found = estimate(TINY, num_steps=2)
    assert found.train_s >= 9 * 9000 / found.images_per_s  # and the validations
    without_val = estimate(replace(TINY, num_val=0), num_steps=2)
    assert without_val.train_s == pytest.approx(9 * 10_000 / without_val.images_per_s)
    assert 0 < found.test_s < found.train_s


def test_every_size_is_measured_and_counts_by_its_share_of_the_training(monkeypatch: pytest.MonkeyPatch) -> None:
    sides_px: list[int] = []
    apply = ProgressiveResizing.apply

    def watched(how: ProgressiveResizing, images: Tensor, progress: float) -> Tensor:
        grown = apply(how, images, progress)
        sides_px.append(grown.shape[-1])
        return grown

    class Clock(pl.Callback):
        def __init__(self, num_warmup_steps: int) -> None:
            self.seconds = 1.0 if not sides_px else 3.0  # of two steps on small images; on whole ones

    monkeypatch.setattr(ProgressiveResizing, "apply", watched)
    monkeypatch.setattr(bench, "StepClock", Clock)
    small_at_first = ProgressiveResizing(initial_scale=0.5, delay_fraction=0.8)
    found = estimate(replace(TINY, num_val=0, resizing=small_at_first), num_steps=2)
    assert sides_px == [16] * 4  # and whole images are given as they are
    assert found.images_per_s == pytest.approx(2 * 16 / (0.8 * 1.0 + 0.2 * 3.0))
    assert found.train_s == pytest.approx(9 * 10_000 / found.images_per_s)


def test_the_test_is_measured_with_the_recipe_s_views_and_the_validation_with_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[str] = []

    def watched(network: Any, images: Tensor, how: str) -> Tensor:
        asked.append(how)
        return network(images)

    monkeypatch.setattr(bench, "averaged_logits", watched)
    estimate(replace(TINY, network=SpeedNetConfig(width=2), views="flip_shift"), 1)
    assert asked == ["flip_shift"] * 2 + ["single"] * 2


def test_every_recipe_s_data_set_has_its_size() -> None:
    assert {get_recipe(name).data for name in RECIPES} <= set(SIZES)
    for split, count in zip(("train", "test"), SIZES["drawn"][:2], strict=True):
        assert len(read_drawn(split)) == count


def test_a_matrix_product_has_a_rate() -> None:
    assert matmul_rate(torch.float32, num_trials=1) > 1e6
