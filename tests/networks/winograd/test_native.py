"""The compiled convolution against the one in PyTorch: blocks, threads and odd numbers of channels change nothing."""

from __future__ import annotations

import pytest
import torch

from firstlight.networks.winograd import native
from firstlight.networks.winograd.native import NativeWinograd, native_winograd
from firstlight.networks.winograd.plain import PlainWinograd


@pytest.fixture
def compiled() -> NativeWinograd:
    """The compiled way, where there is a compiler."""
    way = native_winograd()
    if way is None:
        pytest.skip("nothing can be compiled here")
    return way


@pytest.mark.parametrize("tiles", [1, 20, 10_000])
@pytest.mark.parametrize("channels", [(1, 1), (15, 17), (24, 64), (40, 20)])
@pytest.mark.parametrize("num_threads", [1, 3])
def test_equals_the_one_in_pytorch(
    tiles: int, channels: tuple[int, int], num_threads: int, compiled: NativeWinograd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(native, "TILES_PER_THREAD", tiles)
    monkeypatch.setattr(torch, "get_num_threads", lambda: num_threads)
    torch.manual_seed(0)
    maps, filters = torch.randn(7, 9, 6, channels[0]).double(), torch.randn(*channels[::-1], 3, 3).double()
    gradient = torch.randn(7, 9, 6, channels[1]).double()
    results = (
        (way.convolve(maps, filters), *way.gradients(maps, filters, gradient, True, True))
        for way in (compiled, PlainWinograd())
    )
    for fast, plain in zip(*results, strict=True):
        torch.testing.assert_close(fast, plain, rtol=0, atol=1e-12 * float(plain.abs().max()))


@pytest.mark.parametrize("tiles", [1, 20, 10_000])
@pytest.mark.parametrize("channels", [(2, 2), (14, 18), (24, 64), (40, 20)])
@pytest.mark.parametrize("num_threads", [1, 3])
def test_bfloat16_by_blocks_and_threads(
    tiles: int, channels: tuple[int, int], num_threads: int, compiled: NativeWinograd, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not compiled.knows(torch.bfloat16, *channels):
        pytest.skip("this CPU does not multiply bfloat16")
    monkeypatch.setattr(native, "TILES_PER_THREAD", tiles)
    monkeypatch.setattr(torch, "get_num_threads", lambda: num_threads)
    torch.manual_seed(0)
    maps, gradient = torch.randn(7, 9, 6, channels[0]).bfloat16(), torch.randn(7, 9, 6, channels[1]).bfloat16()
    filters = torch.randn(*channels[::-1], 3, 3)
    fast = compiled.convolve(maps, filters), *compiled.gradients(maps, filters, gradient, True, True)
    maps, filters, gradient = maps.double(), filters.double(), gradient.double()
    way = PlainWinograd()
    plain = way.convolve(maps, filters), *way.gradients(maps, filters, gradient, True, True)
    for one, other in zip(fast, plain, strict=True):
        assert (one.double() - other).abs().max() < 0.03 * other.abs().max()


def test_bfloat16_sums_in_float32(compiled: NativeWinograd) -> None:
    """Nothing becomes nothing, and a gradient summed over more pixels than bfloat16 can count is right."""
    if not compiled.knows(torch.bfloat16, 32, 32):
        pytest.skip("this CPU does not multiply bfloat16")
    maps = torch.zeros(64, 12, 12, 32, dtype=torch.bfloat16)
    assert not compiled.convolve(maps, torch.ones(32, 32, 3, 3)).any()
    maps[...] = 1
    sums = compiled.gradients(maps, torch.ones(32, 32, 3, 3), maps, False, True)[1]
    assert sums is not None
    # 64 images of 144 pixels: bfloat16 stops counting at 256, float32 does not.
    torch.testing.assert_close(sums[:, :, 1, 1], torch.full((32, 32), 64 * 144.0), rtol=0.01, atol=0)


def test_it_knows_no_odd_number_of_channels_in_bfloat16(compiled: NativeWinograd) -> None:
    assert compiled.knows(torch.float32, 3, 5)
    assert compiled.knows(torch.float64, 3, 5)
    assert not compiled.knows(torch.bfloat16, 3, 4)
    assert not compiled.knows(torch.bfloat16, 4, 3)
    assert not compiled.knows(torch.float16, 4, 4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_nothing_is_written_beside_the_maps(dtype: torch.dtype, compiled: NativeWinograd) -> None:
    """Guard bands around the output stay as they were, for channels that fill no panel."""
    if not compiled.knows(dtype, 20, 20):
        pytest.skip("this CPU does not multiply bfloat16")
    for channels in (1, 17, 32) if dtype == torch.float32 else (2, 18, 32):
        room = torch.full((3 * 5 * 5 * channels + 2 * 64,), 7.0, dtype=dtype)
        output = room[64:-64].view(3, 5, 5, channels)
        maps, filters = torch.randn(3, 5, 5, 20).to(dtype), torch.randn(channels, 20, 3, 3)
        work, block = compiled._work(maps, channels)
        transformed = compiled._transformed(filters, dtype)
        compiled._call("convolve", maps, transformed, output, work, *maps.shape, channels, block)
        assert (room[:64] == 7).all()
        assert (room[-64:] == 7).all()
        torch.testing.assert_close(output, compiled.convolve(maps, filters))
