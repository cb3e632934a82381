"""fast94 differs from its control only in the intended fields."""

from __future__ import annotations

from dataclasses import replace

import pytest

from firstlight.evaluation.tta_views import expected_passes
from firstlight.networks import SpeedNetConfig
from firstlight.recipes import get_recipe
from firstlight.recipes.config import MuonConfig


def test_network_and_loss_are_those_of_the_control_except_for_the_last_group() -> None:
    ours, control = get_recipe("fast94"), get_recipe("airbench94")
    same = ("data", "num_val", "augmentation", "label_smoothing", "averaging")
    assert {name: getattr(ours, name) for name in same} == {name: getattr(control, name) for name in same}
    assert isinstance(ours.network, SpeedNetConfig)
    assert isinstance(control.network, SpeedNetConfig)
    end = {"deep_groups": control.network.deep_groups}
    assert replace(ours.network, norm_momentum=control.network.norm_momentum, **end) == control.network


def test_only_uncertain_images_get_more_views() -> None:
    ours, control = get_recipe("fast94"), get_recipe("airbench94")
    assert (ours.views, control.views, control.views_margin) == ("flip_star", "flip_shift", 1.0)
    few, many = (expected_passes(each.views, each.views_margin) for each in (ours, control))
    assert few < many


def test_values_that_depend_on_the_batch_size_are_scaled() -> None:
    ours, control = get_recipe("fast94"), get_recipe("airbench94")
    assert isinstance(ours.optimizer, MuonConfig)
    assert isinstance(control.optimizer, MuonConfig)
    assert isinstance(ours.network, SpeedNetConfig)
    assert isinstance(control.network, SpeedNetConfig)
    share = ours.batch_size / control.batch_size
    for name in ("head_rate", "bias_rate", "weight_decay"):  # the sum of the images' contributions is unchanged
        assert getattr(ours.optimizer, name) == pytest.approx(share * getattr(control.optimizer, name))
    assert ours.network.norm_momentum == pytest.approx(share * control.network.norm_momentum)
    scaled = ("learning_rate", "head_rate", "bias_rate", "weight_decay")
    own = {name: getattr(control.optimizer, name) for name in scaled}
    assert replace(ours.optimizer, **own) == control.optimizer


def test_it_trains_on_fewer_images_and_on_crops_at_first() -> None:
    ours, control = get_recipe("fast94"), get_recipe("airbench94")
    assert ours.max_epochs < control.max_epochs
    assert (ours.hardest_share, control.hardest_share) == (0.6, 1.0)
    assert (ours.gradient_share, control.gradient_share) == (0.8, 1.0)
    sides = {0.0: 25, 0.49: 25, 0.5: 32, 1.0: 32}
    assert {progress: ours.resizing.side_px(32, progress) for progress in sides} == sides
    # A shift by at most half of the removed border: no pixel of a crop is padding.
    assert ours.resizing.method == "crop"
    assert ours.augmentation.crop_px <= (32 - 25) // 2
