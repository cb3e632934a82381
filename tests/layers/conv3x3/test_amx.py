"""The AMX convolution against float64, for groups, blocks and chunks of any size."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from firstlight.layers.conv3x3 import amx, conv3x3
from firstlight.layers.conv3x3.amx import AmxConvolution, Epilogue

POOLED = Epilogue(pools=True)
SIZES = [(1, 1), (1, 7), (3, 3), (5, 4)]
CHANNELS = [(1, 1), (24, 64), (40, 31)]
IMAGES_AND_THREADS = [(1, 3), (16, 1), (37, 1), (37, 3)]


def exact(images: torch.Tensor, filters: torch.Tensor, gradient: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Return output, image gradient and filter gradient in float64; filters are rounded to bfloat16 first."""
    x, w = images.double().requires_grad_(), filters.bfloat16().double().requires_grad_()
    output = F.conv2d(x, w, padding=1)
    return output.detach(), *torch.autograd.grad(output, (x, w), gradient.double())


@pytest.mark.parametrize(("num_images", "num_threads"), IMAGES_AND_THREADS)
@pytest.mark.parametrize("channels", CHANNELS)
@pytest.mark.parametrize("size", SIZES)
def test_equals_the_convolution_in_float64(
    size: tuple[int, int],
    channels: tuple[int, int],
    num_images: int,
    num_threads: int,
    amx_convolution: AmxConvolution,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Sums are float32; the output and the maps' gradient are rounded to bfloat16, by half a unit in the last place."""
    monkeypatch.setattr(torch, "get_num_threads", lambda: num_threads)
    torch.manual_seed(0)
    images = torch.randn(num_images, channels[0], *size).bfloat16()
    filters = torch.randn(*channels[::-1], 3, 3)
    gradient = torch.randn(num_images, channels[1], *size).bfloat16()
    x, w = images.clone().requires_grad_(), filters.clone().requires_grad_()
    output = conv3x3(x, w, amx_convolution)
    found = output, *torch.autograd.grad(output, (x, w), gradient)
    assert [each.dtype for each in found] == [torch.bfloat16, torch.bfloat16, torch.float32]
    for one, other, rounding in zip(found, exact(images, filters, gradient), (2**-8, 2**-8, 0), strict=True):
        scale = max(1.0, float(other.abs().max()))
        torch.testing.assert_close(one.detach().double(), other, rtol=rounding, atol=2e-6 * scale)


def test_maps_too_large_for_the_cache(amx_convolution: AmxConvolution) -> None:
    """Maps that are packed a few rows at a time: 82 rows of 9 pixels, 64 channels and a group of images take 3 MB."""
    torch.manual_seed(1)
    maps, gradient = torch.randn(3, 82, 9, 64).bfloat16(), torch.randn(3, 82, 9, 32).bfloat16()
    filters = torch.randn(32, 64, 3, 3)
    of_maps, of_filters = amx_convolution.gradients(maps, filters, gradient, True, True)
    images, of_output = (each.permute(0, 3, 1, 2) for each in (maps, gradient))
    _, of_images, expected = exact(images, filters, of_output)
    assert of_maps is not None
    assert of_filters is not None
    torch.testing.assert_close(of_maps.double().permute(0, 3, 1, 2), of_images, rtol=2**-8, atol=1e-3)
    torch.testing.assert_close(of_filters.double(), expected, rtol=0, atol=1e-5 * float(expected.abs().max()))
    pooled, argmax = amx_convolution.convolve_to_train(maps, filters, POOLED)[:2]
    windows = amx_convolution.convolve(maps, filters)[:, :, :8].unflatten(2, (4, 2)).unflatten(1, (41, 2))
    windows = windows.permute(0, 1, 3, 2, 4, 5).flatten(3, 4)  # [n h//2 w//2 4 c]
    assert argmax is not None
    chosen = argmax[:, :, :, None].long()
    assert torch.equal(pooled, windows.amax(dim=3))
    assert torch.equal(pooled, windows.gather(3, chosen)[:, :, :, 0])
    of_pool = torch.randn(pooled.shape).bfloat16()
    of_windows = torch.zeros_like(windows).scatter_(3, chosen, of_pool[:, :, :, None]).unflatten(3, (2, 2))
    of_whole = F.pad(of_windows.permute(0, 1, 3, 2, 4, 5).flatten(1, 2).flatten(2, 3), (0, 0, 0, 1))
    one_by_one = amx_convolution.gradients(maps, filters, of_whole, True, True)
    found = amx_convolution.gradients(maps, filters, of_pool, True, True, argmax=argmax)
    for one, other in zip(found, one_by_one, strict=True):
        assert one is not None
        assert other is not None
        assert torch.equal(one, other)


@pytest.mark.parametrize("num_threads", [1, 3])
@pytest.mark.parametrize("channels", [(16, 40), (33, 16)])
@pytest.mark.parametrize("size", [(2, 2), (3, 5), (6, 4)])
@pytest.mark.parametrize("kept", [None, [0, 3, 4, 18]])
def test_fused_pooling_and_selected_images_equal_separate_steps(
    kept: list[int] | None,
    size: tuple[int, int],
    channels: tuple[int, int],
    num_threads: int,
    amx_convolution: AmxConvolution,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Maps of few values, so that windows have several maxima."""
    monkeypatch.setattr(torch, "get_num_threads", lambda: num_threads)
    torch.manual_seed(4)
    maps = torch.randint(-2, 3, (19, *size, channels[0])).bfloat16()
    filters = torch.randint(-1, 2, (*channels[::-1], 3, 3)).float()
    indices = None if kept is None else torch.tensor(kept)
    chosen = maps if indices is None else maps[indices]
    pooled, argmax = amx_convolution.convolve_to_train(maps, filters, POOLED)[:2]
    x = amx_convolution.convolve(maps, filters).permute(0, 3, 1, 2).requires_grad_()
    expected = F.max_pool2d(x, 2)
    assert torch.equal(pooled.permute(0, 3, 1, 2), expected)
    gradient = torch.randn(len(chosen), *pooled.shape[1:]).bfloat16()
    of_all = torch.zeros_like(pooled)
    of_all[slice(None) if indices is None else indices] = gradient
    (of_output,) = torch.autograd.grad(expected, x, of_all.permute(0, 3, 1, 2))
    of_output = of_output.permute(0, 2, 3, 1)[slice(None) if indices is None else indices]
    one_by_one = amx_convolution.gradients(chosen, filters, of_output, True, True)
    found = amx_convolution.gradients(maps, filters, gradient, True, True, indices=indices, argmax=argmax)
    for one, other in zip(found, one_by_one, strict=True):
        assert one is not None
        assert other is not None
        assert torch.equal(one, other)


def test_pooling_keeps_nan(amx_convolution: AmxConvolution) -> None:
    maps, filters = torch.ones(2, 4, 4, 16).bfloat16(), torch.ones(16, 16, 3, 3)
    maps[1, 0, 0, 3] = float("nan")
    pooled, _ = amx_convolution.convolve_to_train(maps, filters, POOLED)[:2]
    assert pooled.isnan().all(dim=3).tolist() == [[[False] * 2] * 2, [[True, False], [False, False]]]


@pytest.mark.parametrize("num_threads", [1, 3])
@pytest.mark.parametrize(
    "epilogue", [Epilogue(), POOLED, Epilogue(applies_relu=True), Epilogue(pools=True, applies_relu=True)]
)
def test_the_fused_epilogue_equals_separate_operations(
    epilogue: Epilogue, num_threads: int, amx_convolution: AmxConvolution, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Moments use the float32 sums; results are rounded once."""
    monkeypatch.setattr(torch, "get_num_threads", lambda: num_threads)
    torch.manual_seed(5)
    maps, filters = torch.randn(37, 6, 5, 40).bfloat16(), torch.randn(45, 40, 3, 3)
    pivots = torch.randn(45)
    images = maps.permute(0, 3, 1, 2)
    expected = exact(images, filters, torch.zeros(37, 45, 6, 5))[0]
    expected = F.max_pool2d(expected, 2) if epilogue.pools else expected
    expected = expected.relu() if epilogue.applies_relu else expected
    expected = expected.permute(0, 2, 3, 1)
    found, argmax, sums = amx_convolution.convolve_to_train(maps, filters, epilogue, pivots)
    assert (argmax is None) != epilogue.pools
    torch.testing.assert_close(found.double(), expected, rtol=2**-8, atol=1e-3)
    off = expected - pivots.double()
    assert sums is not None
    of_each = torch.stack([off.sum((0, 1, 2)), off.square().sum((0, 1, 2))])
    torch.testing.assert_close(sums, of_each, rtol=1e-5, atol=1e-2)


def test_relu_keeps_nan_and_removes_negative_infinity(amx_convolution: AmxConvolution) -> None:
    maps, filters = torch.zeros(2, 1, 1, 16).bfloat16(), torch.ones(16, 16, 3, 3)
    maps[0, 0, 0, 3], maps[1, 0, 0, 3] = float("nan"), -float("inf")
    found = amx_convolution.convolve_to_train(maps, filters, Epilogue(applies_relu=True)).maps
    assert found[0].isnan().all()
    assert (found[1] == 0).all()


def test_nothing_is_written_outside_of_the_buffers(amx_convolution: AmxConvolution) -> None:
    """Guard bands around the outputs are unchanged, for channels and images that do not fill a tile."""
    for channels in (1, 17, 32, 45):
        maps, filters = torch.randn(5, 3, 4, 20).bfloat16(), torch.randn(channels, 20, 3, 3)
        room = torch.full((5 * 3 * 4 * channels + 2 * 64,), 7.0, dtype=torch.bfloat16)
        output = room[64:-64].view(5, 3, 4, channels)
        results = output, None, None, None, 0, 0
        amx_convolution._call("convolve", maps, amx._taps(filters), *results, *maps.shape, channels)
        gradient = torch.full((channels * 9 * 20 + 2 * 64,), 7.0)
        of_filters = gradient[64:-64].view(channels, 3, 3, 20)
        amx_convolution._call("filter_gradient", maps, output, None, None, of_filters, *maps.shape, channels)
        for guarded in (room, gradient):
            assert (guarded[:64] == 7).all()
            assert (guarded[-64:] == 7).all()
        torch.testing.assert_close(output, amx_convolution.convolve(maps, filters))


def test_unneeded_gradients_are_not_computed(amx_convolution: AmxConvolution) -> None:
    maps, filters = torch.randn(2, 3, 3, 16).bfloat16(), torch.randn(8, 16, 3, 3)
    gradient = torch.randn(2, 3, 3, 8).bfloat16()
    of_maps, nothing = amx_convolution.gradients(maps, filters, gradient, True, False)
    assert of_maps is not None
    assert nothing is None
    nothing, of_filters = amx_convolution.gradients(maps, filters, gradient, False, True)
    assert nothing is None
    assert of_filters is not None
    assert of_filters.shape == filters.shape


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_filters_and_maps_may_have_any_memory_layout(
    layout: torch.memory_format, amx_convolution: AmxConvolution
) -> None:
    torch.manual_seed(2)
    images = torch.randn(4, 16, 3, 5).bfloat16().contiguous(memory_format=layout)
    filters = torch.randn(16, 16, 3, 3).contiguous(memory_format=layout)
    for views in ((images, filters), (images[:, :, 1:, :-2], filters), (images, filters.transpose(0, 1))):
        output = conv3x3(*views, amx_convolution)
        assert output.is_contiguous(memory_format=torch.channels_last)
        expected = exact(*views, torch.ones_like(output))[0]
        torch.testing.assert_close(output.double(), expected, rtol=2**-8, atol=1e-4)


def test_the_same_bits_every_time(amx_convolution: AmxConvolution) -> None:
    torch.manual_seed(3)
    maps, filters = torch.randn(40, 5, 5, 32).bfloat16(), torch.randn(48, 32, 3, 3)
    gradient = torch.randn(40, 5, 5, 48).bfloat16()
    first, second = (
        (amx_convolution.convolve(maps, filters), *amx_convolution.gradients(maps, filters, gradient, True, True))
        for _ in range(2)
    )
    for one, other in zip(first, second, strict=True):
        assert one is not None
        assert other is not None
        assert torch.equal(one, other)


def test_only_bfloat16_is_supported(amx_convolution: AmxConvolution) -> None:
    assert amx_convolution.supports(torch.bfloat16, 3, 5)
    assert not amx_convolution.supports(torch.float32, 64, 64)
