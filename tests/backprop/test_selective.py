"""Backward passes by VJPs against autograd, and against arithmetic if some images have no gradient."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from types import ModuleType

import pytest
import torch
from torch import Tensor, nn

from firstlight.backprop.selective import apply_vjps, can_apply_vjps, training_logits
from firstlight.layers import gelu, max_pool
from firstlight.layers.conv3x3 import Conv3x3
from firstlight.layers.conv3x3.winograd import native_winograd
from firstlight.layers.gelu import Gelu
from firstlight.layers.max_pool import MaxPool2x2
from firstlight.layers.residual import Residual
from firstlight.layers.whitening import PatchWhitening
from firstlight.networks.resnet9 import ResNet9, ResNet9Config
from firstlight.networks.speednet import SpeedNet, SpeedNetConfig

NUM_IMAGES = 6


class Unknown(nn.Module):
    """A layer without a rule, with two parameters, one of them unused."""

    def __init__(self) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(1.5))
        self.unused = nn.Parameter(torch.tensor(0.0))

    def forward(self, x: Tensor) -> Tensor:
        return (x * self.factor).sin()


class Doubled(nn.Conv2d):
    """A subclass of a known layer that computes something else."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  # as nn.Conv2d names it
        return super().forward(input) * 2


def normalized_convolution() -> nn.Module:
    """A layer with a rule whose weight is parametrized."""
    return nn.utils.parametrizations.weight_norm(nn.Conv2d(4, 6, 3))


LAYERS: dict[str, Callable[[], nn.Module]] = {
    "convolution": lambda: nn.Conv2d(4, 6, 3, stride=2, padding=1),
    "convolution of groups": lambda: nn.Conv2d(4, 6, (1, 3), dilation=(1, 2), groups=2, bias=False),
    "convolution 3x3": lambda: Conv3x3(4, 6),
    "convolution of the same size": lambda: nn.Conv2d(4, 6, 3, padding="same"),
    "convolution over reflections": lambda: nn.Conv2d(4, 6, 3, padding=1, padding_mode="reflect"),
    "convolution that does more": lambda: Doubled(4, 6, 3),
    "parametrized convolution": normalized_convolution,
    "whitening": lambda: PatchWhitening(4, 2),
    "batch norm": lambda: nn.BatchNorm2d(4),
    "batch norm with a mean over all batches": lambda: nn.BatchNorm2d(4, momentum=None),
    "batch norm without scale": lambda: nn.BatchNorm2d(4, affine=False),
    "batch norm without statistics": lambda: nn.BatchNorm2d(4, track_running_stats=False),
    "GELU": Gelu,
    "max-pool": MaxPool2x2,
    "residual": lambda: Residual(nn.Sequential(Conv3x3(4, 4), nn.BatchNorm2d(4), Gelu())),
    "unknown": Unknown,
    "ReLU": nn.ReLU,
    "maximum of the map": lambda: nn.AdaptiveMaxPool2d(1),
    "maxima of its quarters": lambda: nn.AdaptiveMaxPool2d(2),
    "padding": lambda: nn.ZeroPad2d((1, 0, 2, 3)),
    "padding that cuts off": lambda: nn.ZeroPad2d((1, -1, 0, -2)),
    "linear": lambda: nn.Linear(8, 5),
    "head": lambda: nn.Sequential(nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(4, 3)),
    "nothing": lambda: nn.Sequential(),
    "one layer twice": lambda: nn.Sequential(*[Conv3x3(4, 4)] * 2),
}


def images_for(channels: int, side: int, dtype: torch.dtype = torch.float64, count: int = NUM_IMAGES) -> Tensor:
    images = torch.randn(count, channels, side, side, generator=torch.Generator().manual_seed(1), dtype=dtype)
    return images.contiguous(memory_format=torch.channels_last)


def results(apply: Callable[[Tensor], Tensor], module: nn.Module, images: Tensor, weights: Tensor) -> dict[str, Tensor]:
    """Return output, gradients and buffers of a training step; `weights` [n] weight the images in the loss."""
    x = images.clone(memory_format=torch.preserve_format).requires_grad_()
    output = apply(x)
    each = torch.linspace(-1, 2, output[0].numel()).reshape(output.shape[1:]).to(output.dtype)
    (output * each).flatten(1).sum(dim=1).mul(weights.to(output.dtype)).sum().backward()
    assert x.grad is not None
    gradients = {name: each.grad for name, each in module.named_parameters() if each.grad is not None}
    return {"output": output.detach(), "input": x.grad, **gradients, **dict(module.named_buffers())}


def assert_equal(found: dict[str, Tensor], expected: dict[str, Tensor], tolerance: float = 0.0) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name].dtype == value.dtype, name
        error = (found[name] - value).double().norm()
        assert error <= tolerance * value.double().norm(), name


@pytest.mark.parametrize("name", LAYERS)
def test_all_images_give_the_gradients_of_autograd(name: str) -> None:
    torch.manual_seed(0)
    module = LAYERS[name]().double()
    twin, images, ones = copy.deepcopy(module), images_for(4, 8), torch.ones(NUM_IMAGES)
    assert_equal(
        results(lambda x: apply_vjps([module], x), module, images, ones),
        results(twin, twin, images, ones),
        tolerance=1e-13,
    )


def test_gradients_of_shared_parameters_are_added() -> None:
    torch.manual_seed(0)
    module = Conv3x3(4, 4).double()
    twin, images, ones = copy.deepcopy(module), images_for(4, 8), torch.ones(NUM_IMAGES)
    found = results(lambda x: apply_vjps([module, module], x), module, images, ones)
    assert_equal(found, results(lambda x: twin(twin(x)), twin, images, ones), tolerance=1e-13)


def network_with_every_kind() -> nn.Sequential:
    """Layers with parameters, buffers and random numbers."""
    return nn.Sequential(Conv3x3(4, 6), nn.BatchNorm2d(6), Gelu(), nn.Dropout(0.5), Residual(Conv3x3(6, 6))).double()


def test_a_second_backward_pass_adds_the_same_gradients() -> None:
    layers = network_with_every_kind()
    images = images_for(4, 8).requires_grad_()
    loss = apply_vjps(list(layers), images).square().sum()
    loss.backward(retain_graph=True)
    once = [each.grad.clone() for each in (images, *layers.parameters())]
    statistics = [each.clone() for each in layers.buffers()]
    loss.backward(retain_graph=True)
    loss.backward()
    for each, first in zip((images, *layers.parameters()), once, strict=True):
        torch.testing.assert_close(each.grad, 3 * first)
    for buffer, before in zip(layers.buffers(), statistics, strict=True):
        assert torch.equal(buffer, before)


def test_a_freed_graph_raises_pytorchs_error() -> None:
    output = apply_vjps([Conv3x3(4, 4)], images_for(4, 8, torch.float32))
    output.sum().backward()
    with pytest.raises(RuntimeError, match="backward through the graph a second time"):
        output.sum().backward()


def test_a_gradient_penalty_has_the_gradients_of_autograd() -> None:
    layers = network_with_every_kind()
    twin = copy.deepcopy(layers)
    found = []
    for network, apply in ((layers, lambda x: apply_vjps(list(layers), x)), (twin, twin)):
        images = images_for(4, 8).requires_grad_()
        torch.manual_seed(0)  # of the dropout masks
        (gradient,) = torch.autograd.grad(apply(images).square().sum(), images, create_graph=True)
        gradient.square().sum().backward()
        found.append([gradient, images.grad, *(each.grad for each in network.parameters())])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("name", [name for name in LAYERS if "norm" not in name and name != "residual"])
def test_skipping_images_equals_autograd_without_batch_norm(name: str) -> None:
    """Only batch norm makes images depend on each other; without it, skipping equals zeros through autograd."""
    torch.manual_seed(0)
    module = LAYERS[name]().double()
    twin, images, weights = copy.deepcopy(module), images_for(4, 8), torch.tensor([1, 0, -2, 0, 0, 3])
    found = results(lambda x: apply_vjps([module], x), module, images, weights)
    assert_equal(found, results(twin, twin, images, weights), tolerance=1e-13)
    assert not found["input"][[1, 3, 4]].any()


def test_batch_norm_treats_its_statistics_as_those_of_the_images_with_gradient() -> None:
    """Ioffe and Szegedy 2015, arXiv 1502.03167, section 3: the sums are over fewer images, the statistics of all."""
    torch.manual_seed(0)
    norm, images, chosen = nn.BatchNorm2d(4).double(), images_for(4, 5), torch.tensor([0, 2, 5])
    with torch.no_grad():
        weight = torch.tensor([0.5, 1.0, 2.0, -1.0])
        norm.weight.copy_(weight)
    weights = torch.zeros(NUM_IMAGES).index_fill(0, chosen, 1)
    found = results(lambda x: apply_vjps([norm], x), norm, images, weights)

    std = (images.var(dim=(0, 2, 3), correction=0, keepdim=True) + norm.eps).sqrt()
    normalized = ((images - images.mean(dim=(0, 2, 3), keepdim=True)) / std)[chosen]
    gradient = (
        torch.linspace(-1, 2, images[0].numel()).reshape(images.shape[1:]).double().expand(len(chosen), -1, -1, -1)
    )
    mean = gradient.mean(dim=(0, 2, 3), keepdim=True)
    product = (gradient * normalized).mean(dim=(0, 2, 3), keepdim=True)
    expected = weight.reshape(1, 4, 1, 1) / std * (gradient - mean - normalized * product)
    torch.testing.assert_close(found["input"][chosen], expected)
    torch.testing.assert_close(found["weight"], (gradient * normalized).sum(dim=(0, 2, 3)))
    torch.testing.assert_close(found["bias"], gradient.sum(dim=(0, 2, 3)))


@pytest.fixture
def speednet(always_compiled: Callable[[ModuleType], None]) -> SpeedNet:
    """A network whose layers use their native kernels even for few images."""
    for module in (gelu, max_pool):
        always_compiled(module)
    torch.manual_seed(0)
    network = SpeedNet(10, SpeedNetConfig(width=32, pad_patches=True, deep_groups=1))
    network.init_from_data(torch.randint(0, 256, (50, 3, 32, 32)).byte())
    return network.to(memory_format=torch.channels_last)


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("keeps", [40, 17])
def test_speednet_skips_images_like_its_plain_twin(
    precision: torch.dtype, keeps: int, speednet: SpeedNet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With all images compare with autograd; with some, with the same rules without native kernels."""
    algorithm = native_winograd()
    if precision == torch.bfloat16 and (algorithm is None or not algorithm.supports(precision, 32, 32)):
        pytest.skip("this CPU does not multiply bfloat16")
    images = images_for(3, 24, torch.float32, count=40).sigmoid()
    weights = (torch.arange(40) < keeps).float()
    twin = copy.deepcopy(speednet)
    stages, of_twin = ([each.get_submodule(name) for name in each.stages] for each in (speednet, twin))

    def in_precision(apply: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
        def passed(x: Tensor) -> Tensor:
            with torch.autocast("cpu", torch.bfloat16, enabled=precision == torch.bfloat16):
                return apply(x)

        return passed

    found = results(in_precision(lambda x: apply_vjps(stages, x)), speednet, images, weights)
    if keeps == 40:
        expected = results(in_precision(lambda x: nn.Sequential(*of_twin)(x)), twin, images, weights)
    else:
        for module in twin.modules():
            if isinstance(module, (Gelu, MaxPool2x2)):
                monkeypatch.setattr(module, "is_faster", lambda x: False)
            if isinstance(module, Conv3x3):
                module.fast = False
        expected = results(in_precision(lambda x: apply_vjps(of_twin, x)), twin, images, weights)
    # In bfloat16 AMX pools before it rounds, so pixels that are equal after rounding can give another maximum.
    rounding = {torch.float32: 1e-4, torch.bfloat16: 0.03 if keeps == 40 else 0.15}
    assert_equal(found, expected, tolerance=rounding[precision])


def test_a_frozen_layer_ends_the_backward_pass(speednet: SpeedNet) -> None:
    stages = [speednet.get_submodule(name) for name in speednet.stages]
    for each in (speednet.whiten, speednet.group1):
        each.requires_grad_(False)
    output = apply_vjps(stages, images_for(3, 16, torch.float32))
    output.sum().backward()
    learn = {name for name, each in speednet.named_parameters() if each.requires_grad and not name.startswith("head")}
    assert {name for name, each in speednet.named_parameters() if each.grad is not None} == learn
    assert not any(name.startswith(("whiten", "group1")) for name in learn)


def test_all_images_may_have_a_gradient_of_zero(speednet: SpeedNet) -> None:
    stages = [speednet.get_submodule(name) for name in speednet.stages]
    (apply_vjps(stages, images_for(3, 16, torch.float32)) * 0).sum().backward()
    for name, each in speednet.named_parameters():
        assert each.grad is None or not each.grad.any(), name


def test_without_skipping_all_images_count() -> None:
    """Through batch norm an image without a gradient still gets one, equal to autograd's to the last digits."""
    torch.manual_seed(0)
    module = nn.Sequential(Conv3x3(4, 6), nn.BatchNorm2d(6), Gelu(), Conv3x3(6, 4)).double()
    twin, images, weights = copy.deepcopy(module), images_for(4, 8), (torch.arange(NUM_IMAGES) < 4).float()
    expected = results(twin, twin, images, weights)
    found = results(lambda x: apply_vjps([module], x, skip_zero_gradients=False), module, images, weights)
    assert_equal(found, expected, tolerance=1e-13)
    module.zero_grad()
    skipping = results(lambda x: apply_vjps([module], x), module, images, weights)
    assert not torch.allclose(skipping["0.weight"], expected["0.weight"])


@pytest.mark.parametrize("network", [SpeedNet(4, SpeedNetConfig(width=4)), ResNet9(4, ResNet9Config(width=4))])
def test_training_logits_use_vjps_only_without_hooks_in_training(
    network: SpeedNet | ResNet9, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[bool] = []

    def spy(modules: Sequence[nn.Module], x: Tensor, *, skip_zero_gradients: bool) -> Tensor:
        calls.append(skip_zero_gradients)
        return apply_vjps(modules, x, skip_zero_gradients=skip_zero_gradients)

    monkeypatch.setattr("firstlight.backprop.selective.apply_vjps", spy)
    images = torch.rand(8, 3, 16, 16)
    expected = network.train()(images)
    assert not calls
    torch.testing.assert_close(training_logits(network, images), expected)
    training_logits(network, images, skip_zero_gradients=True)
    assert calls == [False, True]
    with torch.no_grad():
        training_logits(network, images)
    training_logits(network.eval(), images)
    network.train()
    for module in (network, network.get_submodule(network.stages[1])):
        seen: list[nn.Module] = []
        handle = module.register_forward_hook(lambda module, *_, seen=seen: seen.append(module))
        training_logits(network, images)
        handle.remove()
        assert seen == [module]
    assert calls == [False, True]
    training_logits(network, images)
    assert calls == [False, True, False]


class DoubledFeatures(ResNet9):
    """A network with its own features."""

    def features(self, images: Tensor) -> Tensor:
        return super().features(images) * 2


class DoubledPool(ResNet9):
    """A network with its own pooling."""

    def pool_features(self, maps: Tensor) -> Tensor:
        return super().pool_features(maps) * 2


@pytest.mark.parametrize("kind", [DoubledFeatures, DoubledPool])
def test_training_logits_respect_what_a_subclass_overrides(kind: type[ResNet9]) -> None:
    network, images = kind(4, ResNet9Config(width=4)).double(), torch.rand(8, 3, 16, 16, dtype=torch.float64)
    plain = ResNet9(4, ResNet9Config(width=4)).double()
    plain.load_state_dict(network.state_dict())
    torch.testing.assert_close(training_logits(network, images), 2 * plain(images))


def test_a_network_outside_of_training_steps_supports_a_second_derivative() -> None:
    network = ResNet9(4, ResNet9Config(width=2)).double()
    images = torch.rand(8, 3, 16, 16, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(network(images)[:, 0].sum(), images, create_graph=True)
    gradient.square().sum().backward()
    assert images.grad is not None
    assert images.grad.abs().sum() > 0


def test_vjps_apply_only_for_a_plain_tensor_of_the_cpu() -> None:
    assert can_apply_vjps([nn.Identity()], torch.rand(1, 1, 2, 2))
    assert not can_apply_vjps([nn.Identity()], torch.rand(1, 1, 2, 2, device="meta"))
