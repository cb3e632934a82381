"""The kernels of a wheel, compiled beforehand for several levels of x86-64 CPUs, and the choice among them.

This module imports no PyTorch: the build of a wheel uses it, too.
"""

from __future__ import annotations

import platform
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from firstlight.native.compiler import OPTIONS

PACKAGE = Path(__file__).parents[1]
PREBUILT = Path(__file__).parent / "prebuilt"  # VARIANT/KERNEL.so; in wheels only
CPU_INFO = Path("/proc/cpuinfo")
SOURCES = {
    "amx": PACKAGE / "layers" / "conv3x3" / "amx.cpp",
    "winograd": PACKAGE / "layers" / "conv3x3" / "winograd.cpp",
    "batch_norm": PACKAGE / "layers" / "batch_norm.cpp",
    "gelu": PACKAGE / "layers" / "gelu.cpp",
    "max_pool": PACKAGE / "layers" / "max_pool.cpp",
    "muon": PACKAGE / "optim" / "muon_fused.cpp",
    "augment": PACKAGE / "augment" / "fused.cpp",
}


@dataclass(frozen=True)
class Variant:
    """A level of CPUs: the compiler's options, and the flags in /proc/cpuinfo that a CPU must have."""

    name: str
    options: tuple[str, ...]
    flags: frozenset[str]

    @property
    def kernels(self) -> tuple[str, ...]:
        """Names of the kernels that this variant has."""
        return tuple(name for name in SOURCES if name != "amx" or "amx_bf16" in self.flags)


_V3 = frozenset({"avx2", "fma", "f16c", "bmi1", "bmi2", "abm", "movbe"})
_V4 = _V3 | {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}
_BF16 = ("-march=x86-64-v4", "-mavx512bf16")
VARIANTS = (  # the fastest first
    Variant("amx", (*_BF16, "-mamx-tile", "-mamx-bf16"), _V4 | {"avx512_bf16", "amx_tile", "amx_bf16"}),
    Variant("avx512_bf16", _BF16, _V4 | {"avx512_bf16"}),
    Variant("avx512", ("-march=x86-64-v4",), _V4),
    Variant("avx2", ("-march=x86-64-v3",), _V3),
)


def prebuilt_library(kernel: str, folder: Path = PREBUILT) -> tuple[Path, str] | None:
    """Return the library of a kernel for this CPU and the name of its variant, or None if this package has none."""
    if platform.machine() not in ("x86_64", "AMD64"):
        return None
    flags = cpu_flags()
    variant = next((each for each in VARIANTS if each.flags <= flags), None)
    path = folder / variant.name / f"{kernel}.so" if variant else None
    return (path, variant.name) if variant and path and path.is_file() else None


def cpu_flags() -> frozenset[str]:
    """Return the flags of this CPU in /proc/cpuinfo; empty where there is no such file."""
    try:
        lines = CPU_INFO.read_text(encoding="utf-8").splitlines()
    except OSError:
        return frozenset()
    return frozenset(next((line.partition(":")[2] for line in lines if line.startswith("flags")), "").split())


def build_variants(folder: Path, compiler: str) -> list[Path]:
    """Compile all kernels of all variants into a folder, and return the libraries.

    They are compiled for OpenMP but linked with none: PyTorch has loaded one whose name no build can know, and its
    functions are found by their names when the library is loaded.

    Raises:
        subprocess.CalledProcessError: The compiler fails.
    """
    made = []
    with tempfile.TemporaryDirectory() as scratch:
        for variant in VARIANTS:
            (folder / variant.name).mkdir(parents=True, exist_ok=True)
            for kernel in variant.kernels:
                library, middle = folder / variant.name / f"{kernel}.so", Path(scratch) / f"{kernel}.o"
                compiling = [option for option in OPTIONS if option != "-shared"]
                command = [compiler, *compiling, *variant.options, "-fopenmp", "-c", str(SOURCES[kernel])]
                subprocess.run([*command, "-o", str(middle)], check=True)
                linking = ["-shared", "-s", str(middle)]
                subprocess.run([compiler, *linking, "-o", str(library)], check=True)
                made.append(library)
    return made
