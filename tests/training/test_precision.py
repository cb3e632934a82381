from __future__ import annotations

import platform
from pathlib import Path

import pytest
import torch

from firstlight.training import precision
from firstlight.training.precision import cpu_multiplies_bfloat16, default_precision, keep_freed_memory


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
    monkeypatch.setattr(precision, "cpu_multiplies_bfloat16", lambda: cpu_has_bfloat16)
    # emulated bfloat16 is slow, and torch counts it unless told not to
    monkeypatch.setattr(
        torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation or gpu_has_bfloat16
    )
    assert default_precision(device_type) == expected


@pytest.mark.parametrize(("amx", "avx512"), [(True, False), (False, True), (True, True), (False, False)])
def test_either_kind_of_instruction_multiplies_bfloat16(
    monkeypatch: pytest.MonkeyPatch, amx: bool, avx512: bool
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx, raising=False)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx512, raising=False)
    assert cpu_multiplies_bfloat16() is (amx or avx512)


def test_a_torch_that_cannot_tell_means_no(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.cpu, "_is_amx_tile_supported", raising=False)
    monkeypatch.delattr(torch.cpu, "_is_avx512_bf16_supported", raising=False)
    assert cpu_multiplies_bfloat16() is False


def test_the_answer_about_this_cpu_agrees_with_the_kernel() -> None:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    flags = next((set(line.split()) for line in lines if line.startswith("flags")), None)
    if flags is None:
        pytest.skip("the kernel does not list this CPU's instructions")
    assert cpu_multiplies_bfloat16() == bool(flags & {"amx_tile", "avx512_bf16"})


@pytest.mark.parametrize(("system", "libc"), [("Darwin", ""), ("Windows", ""), ("Linux", "musl")])
def test_the_allocator_is_left_alone_where_the_setting_does_not_exist(
    monkeypatch: pytest.MonkeyPatch, system: str, libc: str
) -> None:
    def refuse(_: object) -> None:
        raise AssertionError("the C library must not be touched")

    monkeypatch.setattr(platform, "system", lambda: system)
    monkeypatch.setattr(platform, "libc_ver", lambda: (libc, ""))
    monkeypatch.setattr(precision.ctypes, "CDLL", refuse)
    assert keep_freed_memory() is False
