"""The native passes of Muon against arithmetic in float64, and the optimizer with and without them."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from firstlight.optim import muon_fused
from firstlight.optim.muon import Muon


@pytest.fixture
def _always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use the native passes for any number of weights; skip without a compiler."""
    if muon_fused._library() is None:
        pytest.skip("nothing can be compiled here")
    monkeypatch.setattr(muon_fused, "MIN_ELEMENTS", 0)


@pytest.mark.usefixtures("_always")
@pytest.mark.parametrize("num_threads", [1, 2, 5])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("count", [1, 16, 17, 1000])
def test_equal_arithmetic_in_float64(
    count: int, dtype: torch.dtype, num_threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: num_threads)
    torch.manual_seed(0)
    weight, gradient, buffer = (torch.randn(count, 1) for _ in range(3))
    w, g, b = (each.double() for each in (weight, gradient, buffer))
    room = torch.full((count + 32,), 7.0, dtype=dtype)
    norm = muon_fused.nesterov_update(weight, gradient, buffer, room[16:-16], 0.6)
    b = 0.6 * b + g
    torch.testing.assert_close(norm, w.norm(), rtol=1e-6, atol=0)
    torch.testing.assert_close(buffer.double(), b, rtol=1e-6, atol=1e-6)
    ahead = (g + 0.6 * b).flatten()
    torch.testing.assert_close(room[16:-16].double(), ahead, rtol=2**-8 if dtype == torch.bfloat16 else 1e-6, atol=1e-6)
    assert (room[:16] == 7).all()
    assert (room[-16:] == 7).all()
    update = room[16:-16].clone()
    muon_fused.scale_and_subtract(weight, update, torch.tensor(1.5), 0.1)
    torch.testing.assert_close(weight.double(), 1.5 * w - 0.1 * update.double()[:, None], rtol=1e-6, atol=1e-6)


def trained(module: nn.Module, matmul_dtype: torch.dtype | None, images: Tensor) -> dict[str, Tensor]:
    filters = [each for each in module.parameters() if each.ndim > 1]
    others = [each for each in module.parameters() if each.ndim == 1]
    optimizer = Muon(
        [{"params": filters, "kind": "muon"}, {"params": others}], lr=0.05, momentum=0.7, matmul_dtype=matmul_dtype
    )
    for _ in range(3):
        optimizer.zero_grad()
        module(images).square().mean().backward()
        optimizer.step()
    return dict(module.named_parameters()) | {
        f"momentum of {name}": optimizer.state[each]["momentum_buffer"] for name, each in module.named_parameters()
    }


@pytest.mark.usefixtures("_always")
@pytest.mark.parametrize("matmul_dtype", [None, torch.bfloat16])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_the_optimizer_gives_equal_weights_with_and_without_the_kernels(
    layout: torch.memory_format, matmul_dtype: torch.dtype | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    layers = nn.Conv2d(3, 20, 3), nn.GELU(), nn.Conv2d(20, 20, 3, bias=False), nn.Flatten(), nn.Linear(320, 7)
    module = nn.Sequential(*layers).to(memory_format=layout)  # type: ignore[call-overload]
    images, twin = torch.randn(6, 3, 8, 8), copy.deepcopy(module)
    turned: list[Tensor] = []
    original = muon_fused.scale_and_subtract
    monkeypatch.setattr(
        muon_fused,
        "scale_and_subtract",
        lambda weight, *rest: (turned.append(weight), original(weight, *rest)),
    )
    found = trained(module, matmul_dtype, images)
    assert len(turned) == 3 * 3
    monkeypatch.setattr(muon_fused, "MIN_ELEMENTS", 10**6)
    expected = trained(twin, matmul_dtype, images)
    assert len(turned) == 3 * 3
    for name, value in expected.items():
        error = (found[name] - value).norm() / value.norm()
        assert error < (0.02 if matmul_dtype else 1e-5), (name, error)


@pytest.mark.usefixtures("_always")
def test_the_kernels_are_not_used_where_they_are_slower(monkeypatch: pytest.MonkeyPatch) -> None:
    weight = torch.randn(4, 6)
    alike = [weight], [weight.clone()], [weight.clone()]
    assert muon_fused.is_faster(*alike, torch.bfloat16)
    assert muon_fused.is_faster(*alike, torch.float32)
    assert not muon_fused.is_faster(*alike, torch.float16)
    assert not muon_fused.is_faster(
        [weight], [weight.T.contiguous().T], [weight], torch.float32
    )  # a gradient with other strides
    assert not muon_fused.is_faster([weight.T], [weight.T], [weight.T], torch.float32)  # columns first
    assert not muon_fused.is_faster([weight[:, ::2]], [weight[:, ::2]], [weight[:, ::2]], torch.float32)
    assert not muon_fused.is_faster(*([each.double() for each in them] for them in alike), torch.float32)
    assert not muon_fused.is_faster(*([each.to("meta") for each in them] for them in alike), torch.float32)
    monkeypatch.setattr(muon_fused, "MIN_ELEMENTS", 25)
    monkeypatch.setattr(muon_fused, "_library", lambda: pytest.fail("compiled"))
    assert not muon_fused.is_faster(*alike, torch.float32)
