"""The 3x3 convolution against PyTorch's, in values and both gradients, and the choice of the algorithm."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from firstlight.layers.conv3x3 import Conv3x3, conv3x3
from firstlight.layers.conv3x3 import layer as module
from firstlight.layers.conv3x3.amx import AmxConvolution
from firstlight.layers.conv3x3.winograd import NativeWinograd, native_winograd
from firstlight.layers.conv3x3.winograd_base import Winograd
from firstlight.layers.conv3x3.winograd_torch import TorchWinograd
from firstlight.native import cpu
from firstlight.networks import ResNet9


@pytest.fixture(params=["native", "plain"])
def algorithm(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Every Winograd implementation; the native one needs a compiler."""
    if request.param == "plain":
        monkeypatch.setattr(module, "native_winograd", lambda: None)
    elif native_winograd() is None:
        pytest.skip("nothing can be compiled here")
    return request.param


@pytest.fixture
def bfloat16(monkeypatch: pytest.MonkeyPatch) -> NativeWinograd:
    """The native algorithm, if it supports bfloat16, as on a CPU without AMX."""
    algorithm = native_winograd()
    if algorithm is None or not algorithm.supports(torch.bfloat16, 2, 2):
        pytest.skip("nothing can be compiled here, or this CPU does not multiply bfloat16")
    monkeypatch.setattr(cpu, "has_amx", lambda: False)
    return algorithm


def winograd_conv2d(images: torch.Tensor, filters: torch.Tensor) -> torch.Tensor:
    return conv3x3(images, filters, module.winograd_algorithm(images.dtype, filters.shape[1], filters.shape[0]))


def both_ways(images: torch.Tensor, filters: torch.Tensor) -> list[tuple[torch.Tensor, ...]]:
    """Return output, image gradient and filter gradient, by direct convolution and by Winograd."""
    weights = None
    ways = []
    for convolve in (lambda x, w: F.conv2d(x, w, padding=1), winograd_conv2d):
        x, w = images.clone().requires_grad_(), filters.clone().requires_grad_()
        output = convolve(x, w)
        weights = torch.randn_like(output) if weights is None else weights
        ways.append((output.detach(), *torch.autograd.grad(output, (x, w), weights)))
    return ways


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (4, 4), (5, 8), (7, 7), (15, 31), (32, 32)])
@pytest.mark.parametrize("channels", [(6, 7), (16, 33), (24, 16)])
def test_equals_the_direct_convolution(size: tuple[int, int], channels: tuple[int, int], algorithm: str) -> None:
    torch.manual_seed(0)
    images, filters = torch.randn(5, channels[0], *size).double(), torch.randn(*channels[::-1], 3, 3).double()
    for direct, fast in zip(*both_ways(images, filters), strict=True):
        torch.testing.assert_close(fast, direct, rtol=0, atol=1e-12 * direct.abs().max())


def test_gradients_against_finite_differences(algorithm: str) -> None:
    torch.manual_seed(1)
    images = torch.randn(2, 2, 5, 6, dtype=torch.float64, requires_grad=True)
    filters = torch.randn(3, 2, 3, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(winograd_conv2d, (images, filters))


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_rounding_in_float32(layout: torch.memory_format, algorithm: str) -> None:
    torch.manual_seed(2)
    images = torch.randn(8, 64, 16, 16).contiguous(memory_format=layout)
    filters = torch.randn(96, 64, 3, 3).contiguous(memory_format=layout) / 24
    for direct, fast in zip(*both_ways(images, filters), strict=True):
        assert (fast - direct).abs().max() < 1e-5 * direct.abs().max()


def test_an_unneeded_gradient_is_not_computed(algorithm: str) -> None:
    images, filters = torch.randn(2, 3, 8, 8), torch.randn(4, 3, 3, 3, requires_grad=True)
    output = winograd_conv2d(images, filters)
    assert output.grad_fn.apply(torch.ones_like(output))[0] is None
    output = winograd_conv2d(images, filters)
    output.sum().backward()
    direct = torch.autograd.grad(F.conv2d(images, filters, padding=1).sum(), filters)[0]
    torch.testing.assert_close(filters.grad, direct, rtol=1e-4, atol=1e-4)
    frozen = filters.detach()
    images.requires_grad_()
    output = winograd_conv2d(images, frozen)
    assert output.grad_fn.apply(torch.ones_like(output))[1] is None
    (fast,) = torch.autograd.grad(output.sum(), images)
    (direct,) = torch.autograd.grad(F.conv2d(images, frozen, padding=1).sum(), images)
    torch.testing.assert_close(fast, direct, rtol=1e-4, atol=1e-4)


def test_a_gradient_that_is_expanded_or_cropped(algorithm: str) -> None:
    images, filters = torch.randn(2, 16, 9, 8, requires_grad=True), torch.randn(16, 16, 3, 3)
    for reduce in (lambda y: y.sum(), lambda y: y[:, :, 1:, :-2].square().sum(), lambda y: y.mean(dim=(2, 3)).sum()):
        (fast,) = torch.autograd.grad(reduce(winograd_conv2d(images, filters)), images)
        (direct,) = torch.autograd.grad(reduce(F.conv2d(images, filters, padding=1)), images)
        torch.testing.assert_close(fast, direct, rtol=1e-4, atol=1e-4 * float(direct.abs().max()))


def test_the_same_bits_every_time(algorithm: str) -> None:
    images, filters = torch.randn(40, 32, 15, 15), torch.randn(48, 32, 3, 3)
    first, second = (both_ways_of_winograd(images, filters) for _ in range(2))
    for one, other in zip(first, second, strict=True):
        assert torch.equal(one, other)


def both_ways_of_winograd(images: torch.Tensor, filters: torch.Tensor) -> tuple[torch.Tensor, ...]:
    x, w = images.clone().requires_grad_(), filters.clone().requires_grad_()
    output = winograd_conv2d(x, w)
    return output.detach(), *torch.autograd.grad(output.square().sum(), (x, w))


def test_the_layer_uses_winograd_on_the_cpu_in_float32(algorithm: str) -> None:
    layer = Conv3x3(64, 64)
    images = torch.randn(32, 64, 16, 16)
    assert isinstance(layer.algorithm(images), Winograd)
    assert layer.algorithm(images[:1]) is None  # too few tiles
    assert layer.algorithm(images.double()) is None
    assert layer.algorithm(images.to("meta")) is None
    assert Conv3x3(3, 64).algorithm(torch.randn(32, 3, 16, 16)) is None
    assert (Conv3x3(24, 64).algorithm(torch.randn(32, 24, 16, 16)) is not None) == (algorithm == "native")
    assert Conv3x3(64, 64, fast=False).algorithm(images) is None
    assert layer.double().algorithm(images) is None
    assert (layer.float().eval().algorithm(images) is not None) == (algorithm == "native")


def test_the_layer_uses_winograd_in_bfloat16_in_training_only(
    bfloat16: NativeWinograd, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer, images = Conv3x3(64, 64), torch.randn(32, 64, 16, 16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert isinstance(layer.algorithm(images), Winograd)
        assert isinstance(layer.algorithm(images.bfloat16()), Winograd)
        assert layer.algorithm(images[:1]) is None
        assert layer.algorithm(images.double()) is None
        assert Conv3x3(24, 64).algorithm(torch.randn(32, 24, 16, 16)) is None
        assert Conv3x3(64, 65).algorithm(images) is None
        assert layer.eval().algorithm(images) is None
        monkeypatch.setattr(cpu, "has_amx", lambda: True)
        assert layer.train().algorithm(images) is None
    with torch.autocast("cpu", dtype=torch.float16):
        assert layer.algorithm(images) is None


def test_bfloat16_uses_pytorchs_convolution_without_a_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "native_winograd", lambda: None)
    monkeypatch.setattr(module, "amx_convolution", lambda: None)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert Conv3x3(64, 64).algorithm(torch.randn(32, 64, 16, 16)) is None


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (4, 4), (5, 8), (7, 7), (15, 31), (32, 32)])
@pytest.mark.parametrize("channels", [(6, 8), (16, 34), (24, 16)])
def test_rounding_in_bfloat16(size: tuple[int, int], channels: tuple[int, int], bfloat16: NativeWinograd) -> None:
    """The maps are bfloat16, the filters float32; the reference is computed in float64."""
    torch.manual_seed(0)
    images = torch.randn(5, channels[0], *size).relu().bfloat16()
    filters = torch.randn(*channels[::-1], 3, 3) / (9 * channels[0]) ** 0.5
    gradient = torch.randn(5, channels[1], *size).bfloat16()
    x, w = images.clone().requires_grad_(), filters.clone().requires_grad_()
    output = winograd_conv2d(x, w)
    fast = output, *torch.autograd.grad(output, (x, w), gradient)
    assert [each.dtype for each in fast] == [torch.bfloat16, torch.bfloat16, torch.float32]
    x, w = images.double().requires_grad_(), filters.double().requires_grad_()
    output = F.conv2d(x, w, padding=1)
    exact = output, *torch.autograd.grad(output, (x, w), gradient.double())
    for one, other in zip(fast, exact, strict=True):
        error = one.detach().double() - other.detach()
        assert error.norm() < 0.02 * other.norm()
        assert error.abs().max() < 0.05 * other.abs().max()


def test_the_same_bits_every_time_in_bfloat16(bfloat16: NativeWinograd) -> None:
    images, filters = torch.randn(40, 32, 15, 15).bfloat16(), torch.randn(48, 32, 3, 3)
    first, second = (both_ways_of_winograd(images, filters) for _ in range(2))
    for one, other in zip(first, second, strict=True):
        assert torch.equal(one, other)


def test_the_layer_uses_amx_in_bfloat16_in_training_and_evaluation(tiles: AmxConvolution) -> None:
    layer, images = Conv3x3(64, 33), torch.randn(16, 64, 8, 8)
    assert layer.algorithm(images) is not tiles
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert layer.algorithm(images) is tiles
        assert layer.eval().algorithm(images.bfloat16()) is tiles
        assert layer.algorithm(images[:15]) is None
        assert Conv3x3(15, 64).algorithm(images[:, :15]) is None
        assert Conv3x3(64, 64, fast=False).algorithm(images) is None
        torch.testing.assert_close(layer(images), Conv3x3.__base__.forward(layer, images), rtol=2e-2, atol=1e-2)


def test_bfloat16_uses_pytorchs_convolution_if_linux_denies_the_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu, "has_amx", lambda: True)
    monkeypatch.setattr(module, "amx_convolution", lambda: None)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert Conv3x3(64, 64).algorithm(torch.randn(32, 64, 16, 16)) is None


def test_traced_and_exported_layers_contain_pytorchs_convolution() -> None:
    layer, images = Conv3x3(64, 64).eval(), torch.randn(32, 64, 16, 16)
    exported = torch.export.export(layer, (images,))
    assert any("conv2d" in str(node.target) for node in exported.graph.nodes)
    torch.testing.assert_close(exported.module()(images), layer(images), rtol=1e-4, atol=1e-4)
    traced = torch.jit.trace(layer, images, check_trace=False)
    assert "_convolution" in str(traced.inlined_graph)


def gradients(network: ResNet9, images: torch.Tensor, labels: torch.Tensor) -> list[torch.Tensor]:
    for p in network.parameters():
        p.grad = None
    F.cross_entropy(network(images), labels).backward()
    return [p.grad.double() for p in network.parameters() if p.grad is not None]


def errors_of_both_ways(images: torch.Tensor, labels: torch.Tensor, dtype: torch.dtype) -> dict[bool, float]:
    """Return the largest relative error of a parameter's gradient, with and without Winograd's algorithm."""
    network = ResNet9(10).double().train()  # float64 uses the direct convolution and is the reference
    exact = gradients(network, images.double(), labels)
    network = network.float().to(memory_format=torch.channels_last)
    errors: dict[bool, float] = {}
    for fast in (False, True):
        used: list[bool] = []
        for layer in network.modules():
            if isinstance(layer, Conv3x3):
                layer.fast = fast
                layer.register_forward_pre_hook(
                    lambda layer, args, used=used: used.append(layer.algorithm(args[0]) is not None)
                )
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype == torch.bfloat16):
            got = gradients(network, images, labels)
        errors[fast] = max(float((g - e).norm() / e.norm()) for g, e in zip(got, exact, strict=True))
        assert any(used) == fast
    return errors


def test_resnet9_learns_equally_with_and_without_winograd(algorithm: str) -> None:
    torch.manual_seed(3)
    errors = errors_of_both_ways(torch.rand(16, 3, 32, 32), torch.randint(10, (16,)), torch.float32)
    assert errors[True] < max(1e-4, 20 * errors[False])


@pytest.mark.parametrize("size", [(7, 7), (8, 8), (15, 31)])
def test_output_and_gradient_are_dense(size: tuple[int, int], algorithm: str) -> None:
    images, filters = torch.randn(3, 4, *size, requires_grad=True), torch.randn(5, 4, 3, 3)
    output = winograd_conv2d(images, filters)
    assert output.is_contiguous(memory_format=torch.channels_last)
    (gradient,) = torch.autograd.grad(output.square().sum(), images)
    assert gradient.is_contiguous(memory_format=torch.channels_last)


def test_half_precision_uses_the_pytorch_implementation() -> None:
    assert isinstance(module.winograd_algorithm(torch.float16, 16, 16), TorchWinograd)


def test_nothing_is_compiled_for_a_few_images(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "native_winograd", lambda: pytest.fail("compiled"))
    assert Conv3x3(64, 64).eval().algorithm(torch.randn(1, 64, 32, 32)) is None
    assert Conv3x3(3, 64).algorithm(torch.randn(512, 3, 32, 32)) is None
