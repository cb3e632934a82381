"""The switch of single kernels, tested with the layers that use them."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import pytest
import torch

from firstlight.augment import fused
from firstlight.errors import UsageError
from firstlight.layers import batch_norm, gelu, max_pool
from firstlight.layers.conv3x3 import Conv3x3, layer
from firstlight.layers.conv3x3.amx import AmxConvolution
from firstlight.layers.conv3x3.base import ConvProblem
from firstlight.layers.conv3x3.layer import choose_algorithm
from firstlight.native import cpu
from firstlight.native.dispatch import DISABLE_KERNELS, KERNELS, disabled_kernels
from firstlight.optim import muon_fused
from reference.native_layers import always_compiled

__all__ = ["always_compiled"]

IMAGES = torch.zeros(256, 3, 32, 32, dtype=torch.uint8).contiguous(memory_format=torch.channels_last)
WEIGHT = torch.randn(256, 300)


def used() -> set[str]:
    """Return the names of the kernels, AMX aside, that layers use on this CPU for large inputs in float32."""
    maps = torch.randn(64, 64, 16, 16)
    answers = {
        "winograd": Conv3x3(64, 64).algorithm(maps) is not None,
        "batch_norm": batch_norm.BatchNorm(64).is_faster(maps),
        "gelu": gelu.Gelu().is_faster(maps),
        "max_pool": max_pool.MaxPool2x2().is_faster(maps),
        "muon": muon_fused.is_faster([WEIGHT], [WEIGHT], [WEIGHT], torch.float32),
        "augment": fused.is_faster(IMAGES, 256),
    }
    return {name for name, is_used in answers.items() if is_used}


@pytest.mark.parametrize("kernel", [name for name in KERNELS if name != "amx"])
def test_each_kernel_is_switched_off_alone(
    kernel: str, always_compiled: Callable[[ModuleType], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    always_compiled(gelu)
    monkeypatch.delenv(DISABLE_KERNELS, raising=False)
    assert used() == set(KERNELS) - {"amx"}
    monkeypatch.setenv(DISABLE_KERNELS, kernel)
    assert used() == set(KERNELS) - {"amx", kernel}


def test_all_switches_every_kernel_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(DISABLE_KERNELS, "all")
    assert used() == set()


def test_amx_is_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    amx = AmxConvolution.__new__(AmxConvolution)
    monkeypatch.setattr(cpu, "has_amx", lambda: True)
    monkeypatch.setattr(layer, "amx_convolution", lambda: amx)
    problem = ConvProblem(torch.bfloat16, 64, 64, 64, 64 * 256, is_training=True)
    assert choose_algorithm(problem) is amx
    monkeypatch.setenv(DISABLE_KERNELS, "amx")
    assert choose_algorithm(problem) is None


def test_names_may_have_spaces_and_come_in_any_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(DISABLE_KERNELS, " muon, winograd,")
    assert disabled_kernels() == ("winograd", "muon")


def test_an_unknown_name_is_refused_with_the_known_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(DISABLE_KERNELS, "winograd,relu")
    with pytest.raises(UsageError, match=r"FIRSTLIGHT_DISABLE_KERNELS has unknown kernels 'relu': .*max_pool"):
        gelu.Gelu()(torch.randn(2**19))
