"""C++ compiled on the machine that runs it, where it has a compiler; what is compiled is kept in the cache folder."""

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
INCLUDE = Path(__file__).parent  # for headers of more than one folder
OPTIONS = ["-std=c++17", "-O3", "-march=native", "-fopenmp", "-shared", "-fPIC", "-Wno-psabi", f"-I{INCLUDE}"]
PATIENCE_S = 120


@cache
def compiled(source: Path) -> ctypes.CDLL | None:
    """Return the library made from one file of C++, or None where this machine makes none.

    That is without a compiler (`$CXX`, else c++, g++ or clang++), without OpenMP, without a cache folder to write, or
    with FIRSTLIGHT_COMPILE=0. Whoever asks has a second way, only slower, so nothing is said. The first call on a
    machine takes seconds, later ones milliseconds. The library is made for this very CPU and made anew for another,
    for another compiler and for a changed source.

    Args:
        source: the file; OpenMP is at hand; headers (.hpp) may lie in its folder, or beside this module.
    """
    command = compile_command()
    if command is None:
        return None
    library = library_path(source, command)
    try:
        if not library.exists():
            with atomic(library) as made:
                build = [*command, "-o", os.fspath(made), os.fspath(source)]
                subprocess.run(build, check=True, capture_output=True, timeout=PATIENCE_S)
        return ctypes.CDLL(os.fspath(library))
    except (OSError, subprocess.SubprocessError, WriteError):
        return None


def call(library: ctypes.CDLL | None, name: str, *arguments: Any, threads: int) -> None:
    """Call a function of a library: tensors (or None) by their address, whole numbers as long, and number of threads.

    Tensors must be contiguous, of the type that the function is for, and live on the CPU.
    """
    plain = (
        ctypes.c_long(each) if isinstance(each, int) else ctypes.c_void_p(None if each is None else each.data_ptr())
        for each in arguments
    )
    getattr(library, name)(*plain, ctypes.c_int(threads))


def compile_command() -> list[str] | None:
    """Return the compiler with its options, or None if there is none or compiling is turned off."""
    if os.environ.get(COMPILE) == "0":
        return None
    found = [path for name in (os.environ.get("CXX"), *COMPILERS) if name and (path := shutil.which(name))]
    return [found[0], *OPTIONS] if found else None


def library_path(source: Path, command: list[str]) -> Path:
    """Return where the library made from a file is kept."""
    return cache_dir() / "compiled" / f"{source.stem}-{fingerprint(source, command)}.so"


def fingerprint(source: Path, command: list[str]) -> str:
    """Return 16 hexadecimal digits for all that a library depends on: source, compiler, options and CPU."""
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
