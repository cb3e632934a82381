from __future__ import annotations

import platform

import pytest
import torch

from firstlight.native import cpu
from firstlight.training import precision
from firstlight.training.precision import default_precision, keep_freed_memory


@pytest.mark.parametrize(
    ("device_type", "cpu_has_bfloat16", "gpu_has_bfloat16", "expected"),
    [
        ("cpu", True, False, "bf16-mixed"),
        ("cpu", False, True, "32-true"),
        ("cuda", False, True, "bf16-mixed"),
        ("cuda", True, False, "16-mixed"),
        ("mps", True, True, "32-true"),
        ("tpu", True, True, "32-true"),
    ],
)
def test_the_precision_follows_the_documented_rule(
    monkeypatch: pytest.MonkeyPatch, device_type: str, cpu_has_bfloat16: bool, gpu_has_bfloat16: bool, expected: str
) -> None:
    monkeypatch.setattr(cpu, "multiplies_bfloat16", lambda: cpu_has_bfloat16)
    # emulated bfloat16 is slow, and torch includes it by default
    monkeypatch.setattr(
        torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation or gpu_has_bfloat16
    )
    assert default_precision(device_type) == expected


@pytest.mark.parametrize(("system", "libc"), [("Darwin", ""), ("Windows", ""), ("Linux", "musl")])
def test_the_allocator_is_unchanged_on_other_systems(monkeypatch: pytest.MonkeyPatch, system: str, libc: str) -> None:
    def refuse(_: object) -> None:
        raise AssertionError("the C library must not be touched")

    monkeypatch.setattr(platform, "system", lambda: system)
    monkeypatch.setattr(platform, "libc_ver", lambda: (libc, ""))
    monkeypatch.setattr(precision.ctypes, "CDLL", refuse)
    assert keep_freed_memory() is False
