"""Runs of layers as one pass, against the layers one after the other."""

from __future__ import annotations

import copy
from collections.abc import Callable
from types import ModuleType

import pytest
import torch
from torch import Tensor, nn

from firstlight.networks import ResNet9, SpeedNet, batch_norm
from firstlight.networks.batch_norm import BatchNorm
from firstlight.networks.conv3x3 import Conv3x3
from firstlight.networks.conv3x3.amx import AmxConvolution
from firstlight.networks.gelu import Gelu
from firstlight.networks.inference import infer, may_infer
from firstlight.networks.max_pool import MaxPool2x2
from firstlight.networks.resnet9 import ResNet9Config
from firstlight.networks.speednet import SpeedNetConfig
from firstlight.networks.staged import StagedNetwork

ROUNDING = {torch.float32: 1e-5, torch.bfloat16: 0.02}  # of the deviation
NETWORKS: dict[str, Callable[[], StagedNetwork]] = {
    "SpeedNet": lambda: SpeedNet(10, SpeedNetConfig(width=16, pad_patches=True, deep_groups=1)),
    "ResNet9": lambda: ResNet9(10, ResNet9Config(width=16)),
}


@pytest.fixture(autouse=True)
def _compiled(always_compiled: Callable[[ModuleType], None]) -> None:
    always_compiled(batch_norm)


def taught(module: nn.Module) -> nn.Module:
    """Return a module in evaluation whose batch norms and filters are anything but as they begin."""
    torch.manual_seed(0)
    for each in module.modules():
        if isinstance(each, nn.BatchNorm2d) and each.running_mean is not None and each.running_var is not None:
            nn.init.normal_(each.running_mean)
            nn.init.uniform_(each.running_var, 0.5, 2)
            for parameter in each.parameters():
                nn.init.uniform_(parameter, -0.5, 1.5)  # some factors are negative: pools come before them
        elif isinstance(each, nn.Conv2d):
            nn.init.kaiming_normal_(each.weight)
    return module.eval()


def images_for(channels: int, side: int, count: int = 20) -> Tensor:
    torch.manual_seed(1)
    return torch.rand(count, channels, side, side).contiguous(memory_format=torch.channels_last)


def one_by_one(modules: list[nn.Module], x: Tensor) -> Tensor:
    for module in modules:
        x = module(x)
    return x


def assert_a_network_gives_what_its_layers_give(network: StagedNetwork, precision: torch.dtype) -> None:
    images = images_for(3, 16, count=17)
    network.adopt((255 * images).byte())
    stages = [taught(network.get_submodule(stage)) for stage in network.stages]
    network.eval()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=precision == torch.bfloat16):
        normal = network.normalize(images)
        expected = one_by_one(stages, normal)
        assert may_infer(stages, normal)
        found = infer(stages, normal)
    assert found.dtype == expected.dtype == precision
    if precision == torch.bfloat16:
        assert not torch.equal(found, expected)  # else the layers went one by one
    error = (found - expected).float().square().mean().sqrt() / expected.float().std()
    assert error <= ROUNDING[precision]


@pytest.mark.parametrize("name", list(NETWORKS))
def test_in_float32_a_network_gives_what_its_layers_give(name: str) -> None:
    assert_a_network_gives_what_its_layers_give(NETWORKS[name](), torch.float32)


@pytest.mark.parametrize("name", list(NETWORKS))
def test_by_tiles_a_network_gives_what_its_layers_give(name: str, tiles: AmxConvolution) -> None:
    assert_a_network_gives_what_its_layers_give(NETWORKS[name](), torch.bfloat16)


RUNS: dict[str, Callable[[], list[nn.Module]]] = {
    "all": lambda: [Conv3x3(16, 24), MaxPool2x2(), BatchNorm(24), Gelu()],
    "no pool": lambda: [Conv3x3(16, 24), BatchNorm(24), Gelu()],
    "no GELU": lambda: [Conv3x3(16, 24), MaxPool2x2(), BatchNorm(24)],
    "norm alone": lambda: [Conv3x3(16, 24), BatchNorm(24)],
    "ReLU": lambda: [Conv3x3(16, 24), nn.ReLU(), BatchNorm(24)],
    "pool and ReLU": lambda: [Conv3x3(16, 24), MaxPool2x2(), nn.ReLU(), BatchNorm(24)],
}


@pytest.mark.parametrize("side", [2, 7])
@pytest.mark.parametrize("name", list(RUNS))
def test_runs_by_tiles_are_done_as_one(
    name: str, side: int, tiles: AmxConvolution, monkeypatch: pytest.MonkeyPatch
) -> None:
    layers, images = [taught(each) for each in RUNS[name]()], images_for(16, side).bfloat16()
    with torch.no_grad():
        expected = one_by_one([copy.deepcopy(each).double() for each in layers], images.double())

        def refused(*_: Tensor) -> Tensor:
            raise AssertionError("a layer by itself")

        for each in layers:
            monkeypatch.setattr(each, "forward", refused)
        found = infer(layers, images)
    assert found.dtype == torch.bfloat16
    assert found.is_contiguous(memory_format=torch.channels_last)
    # Filters are rounded to bfloat16, and the result.
    torch.testing.assert_close(found.double(), expected, rtol=2**-7, atol=0.02 * float(expected.std()))


def test_maps_too_small_for_a_pool_fail_as_they_do_without(tiles: AmxConvolution) -> None:
    layers = [taught(each) for each in RUNS["all"]()]
    with torch.no_grad(), pytest.raises(RuntimeError, match="too small"):
        infer(layers, images_for(16, 1).bfloat16())


def test_a_norm_with_less_than_usual_goes_by_itself(tiles: AmxConvolution) -> None:
    for norm in (BatchNorm(24, affine=False), BatchNorm(24, track_running_stats=False)):
        layers, images = [taught(Conv3x3(16, 24)), norm.eval(), Gelu()], images_for(16, 6).bfloat16()
        with torch.no_grad():
            assert torch.equal(infer(layers, images), one_by_one(layers, images))


def test_only_where_nothing_is_lost() -> None:
    layers: list[nn.Module] = [nn.Sequential(BatchNorm(8), Gelu()).eval()]
    images = images_for(8, 6)
    assert not may_infer(layers, images)  # a gradient may be asked for
    with torch.no_grad():
        assert may_infer(layers, images)
        assert not may_infer(layers, images.to("meta"))
        layers[0].get_submodule("1").train()
        assert not may_infer(layers, images)
        layers[0].eval()
        handle = layers[0].get_submodule("0").register_forward_hook(lambda *_: None)
        assert not may_infer(layers, images)
        handle.remove()
        assert may_infer(layers, images)
