"""The instruction sets and the model name of this machine's CPU."""

from __future__ import annotations

import platform
from pathlib import Path

import torch

CPU_INFO = Path("/proc/cpuinfo")  # Linux only
BFLOAT16_UNITS = ("amx_tile", "avx512_bf16")  # instruction sets that multiply bfloat16, the fastest first


def has_amx() -> bool:
    """Whether the CPU multiplies bfloat16 matrices with tiles (Intel AMX)."""
    return _supports("amx_tile")


def has_avx512_bf16() -> bool:
    """Whether the CPU multiplies bfloat16 vectors (AVX512-BF16, on Intel and AMD)."""
    return _supports("avx512_bf16")


def multiplies_bfloat16() -> bool:
    """Whether the CPU multiplies bfloat16 in hardware."""
    return bfloat16_unit() is not None


def bfloat16_unit() -> str | None:
    """Return the fastest instruction set that multiplies bfloat16, "amx_tile" or "avx512_bf16", or None."""
    return next((unit for unit in BFLOAT16_UNITS if _supports(unit)), None)


def model_name() -> str:
    """Return the CPU's model name, for instance "AMD EPYC"."""
    names = [line.split(":", 1)[1].strip() for line in _info_lines() if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def model_and_flags() -> str:
    """Return the model and all instruction flags: machines with the same text can run the same native code."""
    lines = {line for line in _info_lines() if line.startswith(("model name", "flags", "Features"))}
    return "\n".join(sorted(lines)) or platform.processor()


def _supports(unit: str) -> bool:
    """Return whether PyTorch's private probe finds these instructions; False if there is no such probe."""
    return bool(getattr(torch.cpu, f"_is_{unit}_supported", lambda: False)())


def _info_lines() -> list[str]:
    try:
        return CPU_INFO.read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
