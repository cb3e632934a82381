"""Compile C++ sources on the machine that runs them, and keep the libraries in the cache folder."""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

from firstlight.errors import WriteError
from firstlight.files import atomic
from firstlight.native.cpu import model_and_flags
from firstlight.paths import cache_dir

COMPILE = "FIRSTLIGHT_COMPILE"  # environment variable: 0 turns compiling off
COMPILERS = ("c++", "g++", "clang++")
INCLUDE = Path(__file__).parent  # folder of the shared headers
OPTIONS = ["-std=c++17", "-O3", "-march=native", "-fopenmp", "-shared", "-fPIC", "-Wno-psabi", f"-I{INCLUDE}"]
TIMEOUT_S = 120


@cache
def compiled(source: Path) -> ctypes.CDLL | None:
    """Return the library compiled from a C++ source, or None on failure: every caller has a slower fallback.

    Compilation needs a compiler (`$CXX`, else c++, g++ or clang++) with OpenMP and a writable cache folder, and is
    turned off by FIRSTLIGHT_COMPILE=0. The first call on a machine takes seconds, later ones milliseconds. Another
    CPU, another compiler, a changed source and a changed header cause a recompilation.

    Args:
        source: C++ source; it may include headers (.hpp) in its own folder and in the folder of this module.
    """
    command = compile_command()
    if command is None:
        return None
    library = library_path(source, command)
    try:
        if not library.exists():
            with atomic(library) as made:
                build = [*command, "-o", os.fspath(made), os.fspath(source)]
                subprocess.run(build, check=True, capture_output=True, timeout=TIMEOUT_S)
        return ctypes.CDLL(os.fspath(library))
    except (OSError, subprocess.SubprocessError, WriteError):
        return None


def call(library: ctypes.CDLL | None, name: str, *arguments: Any, threads: int) -> None:
    """Call a native function with tensors (or None) as pointers, integers as long, and the number of threads as int.

    Tensors must be contiguous CPU tensors of the dtype that the function expects.
    """
    plain = (
        ctypes.c_long(each) if isinstance(each, int) else ctypes.c_void_p(None if each is None else each.data_ptr())
        for each in arguments
    )
    getattr(library, name)(*plain, ctypes.c_int(threads))


def compile_command() -> list[str] | None:
    """Return the compiler with its options, or None if no compiler is found or compiling is turned off."""
    if os.environ.get(COMPILE) == "0":
        return None
    found = [path for name in (os.environ.get("CXX"), *COMPILERS) if name and (path := shutil.which(name))]
    return [found[0], *OPTIONS] if found else None


def library_path(source: Path, command: list[str]) -> Path:
    """Return the path of the library that is compiled from a source."""
    return cache_dir() / "compiled" / f"{source.stem}-{fingerprint(source, command)}.so"


def fingerprint(source: Path, command: list[str]) -> str:
    """Return a digest of everything that a library depends on: source, headers, compiler, options and CPU."""
    compiler = Path(command[0]).resolve()
    headers = [each for folder in (source.parent, INCLUDE) for each in sorted(folder.glob("*.hpp"))]
    parts = [
        source.read_bytes(),
        *(each.read_bytes() for each in headers),
        repr(command),
        compiler,
        compiler.stat().st_mtime_ns,
        platform.machine(),
        model_and_flags(),
    ]
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part if isinstance(part, bytes) else str(part).encode())
        digest.update(b"\0")
    return digest.hexdigest()[:16]
