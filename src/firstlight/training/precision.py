"""Choose the floating-point precision for a device, and configure the memory allocator on the CPU."""

from __future__ import annotations

import ctypes
import platform
from typing import Literal

import torch

from firstlight.native import cpu

Precision = Literal["32-true", "16-mixed", "bf16-mixed"]


def default_precision(device_type: str) -> Precision:
    """Return Lightning's name of the precision that trains fastest at equal accuracy.

    A GPU uses bfloat16 if its hardware supports it, and float16 otherwise, both by autocast. A CPU uses bfloat16 by
    autocast if it multiplies bfloat16 in hardware (Intel AMX, or AVX512-BF16 on Intel and AMD), and float32 otherwise.
    All other devices, MPS included, use float32.

    Args:
        device_type: Type of a device in PyTorch, such as "cpu", "cuda" or "mps".

    >>> default_precision("mps")
    '32-true'
    """
    if device_type == "cuda":
        return "bf16-mixed" if torch.cuda.is_bf16_supported(including_emulation=False) else "16-mixed"
    if device_type == "cpu" and cpu.multiplies_bfloat16():
        return "bf16-mixed"
    return "32-true"


def keep_freed_memory() -> bool:
    """Let the C library keep freed memory for the next step instead of returning it to the system.

    Every training step on the CPU frees and allocates the same gigabyte. The kernel clears returned pages before it
    hands them out again, and kept memory saves that time. The process stays as large as its largest step
    (docs/decisions/0004-keep-freed-memory.md).

    Returns:
        Whether the setting took effect; it exists only in glibc on Linux.
    """
    if platform.system() != "Linux" or platform.libc_ver()[0] != "glibc":
        return False
    trim_threshold, mmap_max, never = -1, -4, -1  # M_TRIM_THRESHOLD and M_MMAP_MAX of mallopt(3)
    libc = ctypes.CDLL(None)
    return bool(libc.mallopt(mmap_max, 0) and libc.mallopt(trim_threshold, never))
