"""Images grow as the recipe says, and the shares of the sizes are correct."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from firstlight.augment.progressive import Method, ProgressiveResizing
from firstlight.augment.resize import resized
from firstlight.errors import UsageError
from firstlight.networks import ResNet9, ResNet9Config, SpeedNetConfig, build_network
from firstlight.recipes.config import Recipe
from firstlight.training.data_module import ImageData
from firstlight.training.module import Classifier
from firstlight.training.trainer import SILENT, Trainer
from reference.unchecked import without_type_checks

HALF = ProgressiveResizing(initial_scale=0.5, delay_fraction=0.5, finetune_fraction=0.25, size_increment_px=8)


def test_sides_by_hand() -> None:
    # From 16 px at one half to 32 px at three quarters: 20 px at 9/16 and 28 px at 11/16 are where 24 begins and ends.
    sides = {0.0: 16, 0.5: 16, 0.56: 16, 0.57: 24, 0.68: 24, 0.69: 32, 0.75: 32, 1.0: 32}
    assert {progress: HALF.side_px(32, progress) for progress in sides} == sides


@pytest.mark.parametrize("full_px", [16, 32])
def test_images_never_get_too_small_for_the_networks(full_px: int) -> None:
    resizing = ProgressiveResizing(initial_scale=0.1)
    assert resizing.side_px(full_px, 0.0) == 10
    for config in (ResNet9Config(width=2), SpeedNetConfig(width=2), SpeedNetConfig(width=2, pad_patches=True)):
        assert build_network(4, config).eval()(torch.zeros(1, 3, 10, 10)).shape == (1, 4)


def test_shares_of_the_sides_by_hand() -> None:
    assert HALF.shares(32) == pytest.approx({16: 9 / 16, 24: 2 / 16, 32: 5 / 16}, abs=0.002)
    assert HALF.shares(32, 0.5) == pytest.approx({16: 2 / 16, 24: 4 / 16, 32: 10 / 16}, abs=0.002)
    assert HALF.shares(32, 1.0) == {32: 1}


def test_by_default_all_images_have_full_size() -> None:
    assert {ProgressiveResizing().side_px(32, progress / 10) for progress in range(11)} == {32}
    assert ProgressiveResizing().shares(32) == {32: 1}


def test_a_jump_without_growth() -> None:
    jump = ProgressiveResizing(initial_scale=0.5, delay_fraction=0.75, finetune_fraction=0.25)
    assert [jump.side_px(32, progress) for progress in (0.0, 0.74, 0.75, 1.0)] == [16, 16, 32, 32]


@pytest.mark.parametrize("full_px", [16, 30, 33, 64])
def test_sides_never_shrink_and_end_at_full_size(full_px: int) -> None:
    sides = [HALF.side_px(full_px, progress / 100) for progress in range(101)]
    assert sides == sorted(sides)
    assert sides[-1] == full_px
    assert all(side % 8 == 0 or side in (10, full_px) for side in sides)


@pytest.mark.parametrize(
    "wrong",
    [
        {"initial_scale": 0.0},
        {"initial_scale": 1.5},
        {"delay_fraction": -0.1},
        {"finetune_fraction": 1.1},
        {"delay_fraction": 0.7, "finetune_fraction": 0.7},
        {"size_increment_px": 0},
    ],
)
def test_invalid_values_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(UsageError, match="resizing"):
        ProgressiveResizing(**wrong)  # type: ignore[arg-type]


def test_an_unknown_method_is_refused() -> None:
    with without_type_checks(), pytest.raises(UsageError, match="method must be one of scale, crop, not 'squeeze'"):
        ProgressiveResizing("squeeze")  # type: ignore[arg-type]


def test_images_are_scaled_or_cropped() -> None:
    images = torch.rand(2, 3, 32, 32)
    assert torch.equal(HALF.apply(images, 0.0), resized(images, (16, 16)))
    cropping = replace(HALF, method="crop")
    assert torch.equal(cropping.apply(images, 0.0), images[:, :, 8:24, 8:24])
    assert torch.equal(cropping.apply(images, 0.6), images[:, :, 4:28, 4:28])
    assert cropping.apply(images, 0.9) is images


class Watched(ResNet9):
    """Records the sides of its inputs in training and evaluation."""

    def __init__(self, num_classes: int) -> None:
        super().__init__(num_classes, ResNet9Config(width=2))
        self.sides_px: dict[bool, list[int]] = {True: [], False: []}

    def features(self, images: Tensor) -> Tensor:
        self.sides_px[self.training].append(images.shape[-1])
        return super().features(images)


@pytest.mark.parametrize("method", ["scale", "crop"])
def test_a_training_enlarges_its_images_and_validates_at_full_size(method: Method, tiny: str) -> None:
    how = replace(HALF, size_increment_px=4, method=method)
    recipe = Recipe(data=tiny, num_val=32, batch_size=16, max_epochs=2, resizing=how)
    network = Watched(4)
    trainer = Trainer(max_epochs=2, num_sanity_val_steps=0, accelerator="cpu", **SILENT)
    trainer.fit(Classifier(network, recipe), datamodule=ImageData(recipe))
    num_steps = trainer.global_step
    assert network.sides_px[True] == [how.side_px(16, step / num_steps) for step in range(num_steps)]
    assert set(network.sides_px[True]) == {10, 12, 16}
    assert set(network.sides_px[False]) == {16}


def test_a_module_without_a_trainer_does_not_resize() -> None:
    network = Watched(4)
    module = Classifier(network, replace(Recipe(), resizing=HALF))
    module.training_step((torch.rand(4, 3, 32, 32), torch.arange(4)), 0)
    assert network.sides_px[True] == [32]
