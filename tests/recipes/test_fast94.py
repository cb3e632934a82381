"""fast94 differs from its control where it means to, and nowhere else."""

from __future__ import annotations

from dataclasses import replace

import pytest

from firstlight.networks import SpeedNet, SpeedNetConfig
from firstlight.recipes import get_recipe
from firstlight.training.recipe import MuonConfig


def test_it_is_the_control_s_network_and_loss_on_all_images() -> None:
    ours, control = get_recipe("fast94"), get_recipe("airbench94")
    same = ("data", "num_val", "augmentation", "label_smoothing", "views", "averaging")
    assert {name: getattr(ours, name) for name in same} == {name: getattr(control, name) for name in same}
    assert isinstance(ours.network, SpeedNetConfig)
    assert isinstance(control.network, SpeedNetConfig)
    assert replace(ours.network, norm_momentum=control.network.norm_momentum) == control.network


def test_what_a_batch_s_size_scales_is_scaled() -> None:
    ours, control = get_recipe("fast94"), get_recipe("airbench94")
    assert isinstance(ours.optimizer, MuonConfig)
    assert isinstance(control.optimizer, MuonConfig)
    assert isinstance(ours.network, SpeedNetConfig)
    assert isinstance(control.network, SpeedNetConfig)
    share = ours.batch_size / control.batch_size
    for name in ("head_rate", "bias_rate", "weight_decay"):  # the sum over images of what each adds stays the same
        assert getattr(ours.optimizer, name) == pytest.approx(share * getattr(control.optimizer, name))
    assert ours.network.norm_momentum == pytest.approx(share * control.network.norm_momentum)
    scaled = ("learning_rate", "head_rate", "bias_rate", "weight_decay")
    freezing = ("whitening_epochs", "frozen_stages", "freeze_at")
    own = {name: getattr(control.optimizer, name) for name in scaled + freezing}
    assert replace(ours.optimizer, **own) == control.optimizer


def test_it_looks_at_fewer_images_and_freezes_the_first_stages_before_the_end() -> None:
    ours, control = get_recipe("fast94"), get_recipe("airbench94")
    assert ours.max_epochs < control.max_epochs
    assert isinstance(ours.optimizer, MuonConfig)
    assert SpeedNet.stages[: ours.optimizer.frozen_stages] == ("whiten", "group1")
    assert ours.optimizer.whitening_epochs < ours.optimizer.freeze_at * ours.max_epochs < ours.max_epochs
