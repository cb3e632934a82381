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


def test_nothing_is_written_beside_the_maps(compiled: NativeWinograd) -> None:
    """Guard bands around the output stay as they were, for channels that fill no panel."""
    for channels in (1, 17, 32):
        room = torch.full((3 * 5 * 5 * channels + 2 * 64,), 7.0)
        output = room[64:-64].view(3, 5, 5, channels)
        maps, filters = torch.randn(3, 5, 5, 20), torch.randn(channels, 20, 3, 3)
        work, block = compiled._work(maps, channels)
        transformed = compiled._transformed(filters)
        compiled._call("convolve", maps, transformed, output, work, *maps.shape, channels, block)
        assert (room[:64] == 7).all()
        assert (room[-64:] == 7).all()
        torch.testing.assert_close(output, compiled.convolve(maps, filters))
