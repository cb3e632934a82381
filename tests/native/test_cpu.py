"""The CPU's instruction sets against the flags that Linux lists, and against stubs of PyTorch's probe."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest
import torch

from firstlight.native import cpu

CPU_INFO = """processor\t: 0
model name\t: Some CPU @ 2 GHz
flags\t\t: fpu avx2
processor\t: 1
model name\t: Some CPU @ 2 GHz
flags\t\t: fpu avx2
"""


@pytest.fixture
def cpu_info(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "cpuinfo"
    path.write_text(CPU_INFO)
    monkeypatch.setattr(cpu, "CPU_INFO", path)
    return path


@pytest.mark.parametrize(
    ("amx", "avx512", "unit"),
    [(True, False, "amx_tile"), (False, True, "avx512_bf16"), (True, True, "amx_tile"), (False, False, None)],
)
def test_either_unit_multiplies_bfloat16_and_amx_comes_first(
    amx: bool, avx512: bool, unit: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx, raising=False)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx512, raising=False)
    assert cpu.has_amx() is amx
    assert cpu.has_avx512_bf16() is avx512
    assert cpu.multiplies_bfloat16() is (amx or avx512)
    assert cpu.bfloat16_unit() == unit


def test_without_pytorchs_probe_the_result_is_false(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.cpu, "_is_amx_tile_supported", raising=False)
    monkeypatch.delattr(torch.cpu, "_is_avx512_bf16_supported", raising=False)
    assert cpu.multiplies_bfloat16() is False
    assert cpu.bfloat16_unit() is None


def test_the_answers_agree_with_the_flags_that_the_kernel_lists() -> None:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines() if Path("/proc/cpuinfo").exists() else []
    flags = next((set(line.split()) for line in lines if line.startswith("flags")), None)
    if flags is None:
        pytest.skip("the kernel does not list this CPU's instructions")
    assert cpu.has_amx() == ("amx_tile" in flags)
    assert cpu.has_avx512_bf16() == ("avx512_bf16" in flags)


def test_the_model_is_the_first_that_the_kernel_names(cpu_info: Path) -> None:
    assert cpu.model_name() == "Some CPU @ 2 GHz"


def test_the_identity_holds_model_and_flags_once(cpu_info: Path) -> None:
    assert cpu.model_and_flags() == "flags\t\t: fpu avx2\nmodel name\t: Some CPU @ 2 GHz"
    before = cpu.model_and_flags()
    cpu_info.write_text(CPU_INFO.replace("avx2", "avx2 avx512f"), encoding="utf-8")
    assert cpu.model_and_flags() != before


def test_without_the_kernels_list_python_names_the_cpu(cpu_info: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cpu_info.unlink()
    monkeypatch.setattr(platform, "processor", lambda: "")
    monkeypatch.setattr(platform, "machine", lambda: "arm64")
    assert cpu.model_name() == "arm64"
    monkeypatch.setattr(platform, "processor", lambda: "arm")
    assert cpu.model_name() == "arm"
    assert cpu.model_and_flags() == "arm"
