from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from firstlight.networks.speednet import SpeedNet, SpeedNetConfig
from reference.macs import count_macs


def plain_logits(network: SpeedNet, images: torch.Tensor, padding: int = 0, deep: tuple[str, ...] = ()) -> torch.Tensor:
    """The published network in plain operations on the same tensors, in evaluation mode, optionally padded.

    Groups named in `deep` have a third convolution.
    """
    w = {name.replace("residual.branch.", ""): tensor for name, tensor in network.state_dict().items()}
    x = (images - w["normalize.mean"]) / w["normalize.std"]
    x = F.pad(x, (0, padding, 0, padding))
    x = F.gelu(F.conv2d(x, w["whiten.conv.weight"], w["whiten.conv.bias"]))
    for group in ("group1", "group2", "group3"):
        first = x
        for number in (1, 2, 3) if group in deep else (1, 2):
            x = F.conv2d(x, w[f"{group}.conv{number}.weight"], padding=1)
            x = F.max_pool2d(x, 2) if number == 1 else x
            norm = f"{group}.norm{number}."
            mean, variance, bias = w[norm + "running_mean"], w[norm + "running_var"], w[norm + "bias"]
            x = (x - mean[:, None, None]) / (variance[:, None, None] + 1e-12).sqrt() + bias[:, None, None]
            x = F.gelu(x)
            first = x if number == 1 else first
        x = x + first if group in deep else x
    return x.amax(dim=(2, 3)) @ w["head.weight"].T / 256


@pytest.mark.parametrize(
    ("padding", "deep"),
    [(0, ()), (1, ()), (1, ("group3",)), (0, ("group1", "group2", "group3"))],
    ids=["as published", "padded", "last group deep", "all groups deep"],
)
def test_it_is_the_published_network(padding: int, deep: tuple[str, ...]) -> None:
    torch.manual_seed(0)
    config = SpeedNetConfig(width=8, pad_patches=bool(padding), deep_groups=len(deep))
    network = SpeedNet(10, config).eval()
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.normal_(layer.bias)
            nn.init.normal_(layer.running_mean)
            nn.init.uniform_(layer.running_var, 0.5, 2)
    images = torch.rand(3, 3, 32, 32)
    torch.testing.assert_close(network(images), plain_logits(network, images, padding, deep), rtol=1e-4, atol=1e-6)


def test_parameters_and_work_by_hand() -> None:
    network = SpeedNet(10)
    filters = 9 * (24 * 64 + 64 * 64 + 64 * 256 + 3 * 256 * 256)
    biases = 24 + 2 * 64 + 4 * 256
    assert sum(p.numel() for p in network.parameters() if p.requires_grad) == filters + biases + 2560
    macs = 31 * 31 * (12 * 24 + 9 * 24 * 64) + 15 * 15 * 9 * (64 * 64 + 64 * 256)
    macs += 7 * 7 * 9 * 2 * 256 * 256 + 3 * 3 * 9 * 256 * 256 + 2560
    assert count_macs(network, torch.rand(1, 3, 32, 32)) == macs


def test_a_third_convolution_of_the_last_group_costs_little_work() -> None:
    macs = [count_macs(SpeedNet(10, SpeedNetConfig(deep_groups=n)), torch.rand(1, 3, 32, 32)) for n in (0, 1)]
    assert macs[1] - macs[0] == 3 * 3 * 9 * 256 * 256
    assert macs[1] < 1.05 * macs[0]


def test_padded_maps_are_halved_without_a_remainder() -> None:
    network = SpeedNet(10, SpeedNetConfig(width=4, pad_patches=True))
    x, sides = network.normalize(torch.rand(1, 3, 32, 32)), []
    for stage in network.stages:
        x = network.get_submodule(stage)(x)
        sides.append(tuple(x.shape[2:]))
    assert sides == [(32, 32), (16, 16), (8, 8), (4, 4)]


def test_convolutions_start_as_the_identity() -> None:
    network = SpeedNet(10, SpeedNetConfig(width=4))
    x = torch.rand(2, 16, 5, 5)
    torch.testing.assert_close(network.group3.get_submodule("conv1")(x), x)
    wider = network.group2.get_submodule("conv1")(x[:, :4])
    torch.testing.assert_close(wider[:, :4], x[:, :4])
    assert wider[:, 4:].std() > 0


def test_the_head_starts_with_unit_deviation_and_its_features_are_scaled() -> None:
    network = SpeedNet(10, SpeedNetConfig(width=16, head_scale=0.25)).eval()
    assert float(network.head.weight.detach().std()) == pytest.approx(1, abs=1e-5)
    images = torch.rand(2, 3, 32, 32)
    unscaled = SpeedNet(10, SpeedNetConfig(width=16, head_scale=1.0)).eval()
    unscaled.load_state_dict(network.state_dict())
    torch.testing.assert_close(network(images), 0.25 * unscaled(images))


def test_after_init_from_data_the_first_activation_has_white_input() -> None:
    network = SpeedNet(10, SpeedNetConfig(width=4), mean=(0.5, 0.5, 0.5))
    images = F.interpolate(torch.rand(50, 3, 8, 8), size=(32, 32), mode="bilinear")
    raw = (255 * images).round().to(torch.uint8)
    network.init_from_data(raw)
    with torch.no_grad():
        whitened = network.whiten[0](network.normalize(raw / 255))[:, :12]
    covariance = whitened.transpose(0, 1).flatten(1).cov()
    strong = covariance.diagonal() > 0.9  # where epsilon is negligible
    assert strong.sum() >= 3
    off_diagonal = covariance - torch.diag(covariance.diagonal())
    assert off_diagonal.abs().max() < 0.01
