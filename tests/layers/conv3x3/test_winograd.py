"""The native Winograd convolution against the one in PyTorch, for any blocks, threads and channels."""

from __future__ import annotations

from itertools import product

import pytest
import torch

from firstlight.layers.conv3x3 import winograd
from firstlight.layers.conv3x3.winograd import PANEL, TILES, NativeWinograd, cheapest_tile, native_winograd
from firstlight.layers.conv3x3.winograd_torch import TorchWinograd


@pytest.fixture
def compiled() -> NativeWinograd:
    """The native algorithm; skips without a compiler."""
    algorithm = native_winograd()
    if algorithm is None:
        pytest.skip("nothing can be compiled here")
    return algorithm


@pytest.fixture(params=TILES)
def tile(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Each tile size in turn, also where it is not the cheapest."""
    monkeypatch.setattr(winograd, "cheapest_tile", lambda height, width: request.param)
    return request.param


@pytest.fixture(params=product([1, 20, 10_000], [1, 3]))
def _blocks_and_threads(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Vary the number of tiles in a block, from one image to all, and the number of threads."""
    tiles, num_threads = request.param
    monkeypatch.setattr(winograd, "TILES_PER_THREAD", tiles)
    monkeypatch.setattr(torch, "get_num_threads", lambda: num_threads)


@pytest.mark.usefixtures("tile", "_blocks_and_threads")
@pytest.mark.parametrize("channels", [(1, 1), (15, 17), (24, 64), (40, 20)])
def test_equals_the_pytorch_implementation(channels: tuple[int, int], compiled: NativeWinograd) -> None:
    torch.manual_seed(0)
    maps, filters = torch.randn(7, 9, 6, channels[0]).double(), torch.randn(*channels[::-1], 3, 3).double()
    gradient = torch.randn(7, 9, 6, channels[1]).double()
    results = (
        (algorithm.convolve(maps, filters), *algorithm.gradients(maps, filters, gradient, True, True))
        for algorithm in (compiled, TorchWinograd())
    )
    for fast, plain in zip(*results, strict=True):
        torch.testing.assert_close(fast, plain, rtol=0, atol=1e-12 * float(plain.abs().max()))


@pytest.mark.usefixtures("tile", "_blocks_and_threads")
@pytest.mark.parametrize("channels", [(2, 2), (14, 18), (24, 64), (40, 20)])
def test_bfloat16_by_blocks_and_threads(channels: tuple[int, int], compiled: NativeWinograd) -> None:
    if not compiled.supports(torch.bfloat16, *channels):
        pytest.skip("this CPU does not multiply bfloat16")
    torch.manual_seed(0)
    maps, gradient = torch.randn(7, 9, 6, channels[0]).bfloat16(), torch.randn(7, 9, 6, channels[1]).bfloat16()
    filters = torch.randn(*channels[::-1], 3, 3)
    fast = compiled.convolve(maps, filters), *compiled.gradients(maps, filters, gradient, True, True)
    maps, filters, gradient = maps.double(), filters.double(), gradient.double()
    algorithm = TorchWinograd()
    plain = algorithm.convolve(maps, filters), *algorithm.gradients(maps, filters, gradient, True, True)
    for one, other in zip(fast, plain, strict=True):
        assert (one.double() - other).abs().max() < 0.03 * other.abs().max()


def test_bfloat16_sums_in_float32(compiled: NativeWinograd) -> None:
    """Zeros stay zeros, and a gradient summed over more pixels than bfloat16 can count is correct."""
    if not compiled.supports(torch.bfloat16, 32, 32):
        pytest.skip("this CPU does not multiply bfloat16")
    maps = torch.zeros(64, 12, 12, 32, dtype=torch.bfloat16)
    assert not compiled.convolve(maps, torch.ones(32, 32, 3, 3)).any()
    maps[...] = 1
    sums = compiled.gradients(maps, torch.ones(32, 32, 3, 3), maps, False, True)[1]
    assert sums is not None
    # 64 images of 144 pixels: bfloat16 stops counting at 256, float32 does not.
    torch.testing.assert_close(sums[:, :, 1, 1], torch.full((32, 32), 64 * 144.0), rtol=0.01, atol=0)


def test_bfloat16_needs_even_numbers_of_channels(compiled: NativeWinograd) -> None:
    assert compiled.supports(torch.float32, 3, 5)
    assert compiled.supports(torch.float64, 3, 5)
    assert not compiled.supports(torch.bfloat16, 3, 4)
    assert not compiled.supports(torch.bfloat16, 4, 3)
    assert not compiled.supports(torch.float16, 4, 4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_nothing_is_written_outside_of_the_buffers(tile: int, dtype: torch.dtype, compiled: NativeWinograd) -> None:
    """Guard bands around the output are unchanged, for channels that do not fill a panel."""
    if not compiled.supports(dtype, 20, 20):
        pytest.skip("this CPU does not multiply bfloat16")
    for channels in (1, 17, 32) if dtype == torch.float32 else (2, 18, 32):
        room = torch.full((3 * 5 * 5 * channels + 2 * 64,), 7.0, dtype=dtype)
        output = room[64:-64].view(3, 5, 5, channels)
        maps, filters = torch.randn(3, 5, 5, 20).to(dtype), torch.randn(channels, 20, 3, 3)
        workspace, block = compiled._workspace(maps, channels, tile)
        transformed = compiled._transformed(filters, dtype, tile)
        compiled._call("convolve", maps, transformed, output, workspace, *maps.shape, channels, block, tile)
        assert (room[:64] == 7).all()
        assert (room[-64:] == 7).all()
        torch.testing.assert_close(output, compiled.convolve(maps, filters))


def test_the_tile_with_the_fewest_products_is_chosen() -> None:
    """Counted by hand: 2 x 2 tiles of 6x6 are 144 products for a map of 8x8, 3 x 3 tiles of 5x5 are 225."""
    by_side = {1: 3, 3: 3, 4: 4, 5: 3, 6: 3, 7: 4, 8: 4, 9: 3, 10: 4, 12: 4, 15: 4, 16: 4, 32: 4}
    assert {side: cheapest_tile(side, side) for side in by_side} == by_side
    assert cheapest_tile(3, 8) == 4  # 2 tiles of 36 against 3 of 25
    assert cheapest_tile(3, 6) == 3


def test_a_filter_gradient_has_the_memory_layout_of_the_filter(compiled: NativeWinograd) -> None:
    maps, filters = torch.randn(4, 6, 8, 16), torch.randn(24, 16, 3, 3).contiguous(memory_format=torch.channels_last)
    _, of_filters = compiled.gradients(maps, filters, torch.randn(4, 6, 8, 24), False, True)
    assert of_filters is not None
    assert of_filters.stride() == filters.stride()


def test_the_bank_does_not_depend_on_the_memory_layout_of_the_filters(tile: int, compiled: NativeWinograd) -> None:
    filters = torch.randn(20, 12, 3, 3)
    bank = compiled._transformed(filters, torch.float32, tile)
    for other in (
        filters.contiguous(memory_format=torch.channels_last),
        filters.transpose(0, 1).contiguous().transpose(0, 1),
        filters.permute(3, 2, 1, 0).contiguous().permute(3, 2, 1, 0),
        filters.permute(2, 3, 1, 0).contiguous().permute(3, 2, 0, 1),
    ):
        assert torch.equal(other, filters)
        of_other = compiled._transformed(other, torch.float32, tile)
        # The gap between two matrices is not set.
        ours, theirs = (each.view((tile + 2) ** 2, -1)[:, : 2 * 12 * PANEL] for each in (bank, of_other))
        assert torch.equal(ours, theirs)
