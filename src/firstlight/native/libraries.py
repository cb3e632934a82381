"""Load the library of a kernel, and record which kernels were loaded and why others were not."""

from __future__ import annotations

import ctypes
import logging
import os
import subprocess
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from firstlight.native.compiler import (
    COMPILE,
    NoLibraryError,
    compile_commands,
    explaining_failures,
    find_compiler,
    run_compiler,
)
from firstlight.native.library_cache import find_or_make, fingerprint, library_dir
from firstlight.native.variants import SOURCES, prebuilt_library

_loaded: dict[str, str] = {}  # by kernel: where its library comes from
_missing: dict[str, str] = {}  # by kernel: why it has no library
_log = logging.getLogger("firstlight")


@cache
def load_library(source: Path, kernel: str) -> ctypes.CDLL | None:
    """Return the library of a C++ source, or None on failure: every caller has a slower fallback.

    A wheel may hold the library for this CPU; otherwise it is compiled. Compilation needs a compiler (`$CXX`, else c++,
    g++ or clang++) with OpenMP and a writable cache folder, and is turned off by FIRSTLIGHT_COMPILE=0. The first call
    on a machine takes seconds, later ones milliseconds. Another CPU, another compiler, a changed source and a changed
    header cause a recompilation. The reason of a failure is logged once.

    Args:
        source: C++ source; it may include headers (.hpp) in its own folder and in the folder of this module.
        kernel: Name of the kernel, for `kernel_report`.
    """
    _loaded.pop(kernel, None)
    prebuilt = _load_prebuilt(source, kernel)
    if prebuilt is not None:
        return prebuilt
    try:
        compiler = find_compiler()
        library = _load_compiled(source, kernel, compiler)
    except NoLibraryError as error:
        if str(error) not in _missing.values() and os.environ.get(COMPILE) != "0":
            _log.warning(f"warning: slower without native kernels: {error}")
        _missing[kernel] = str(error)
        return None
    _missing.pop(kernel, None)
    _loaded[kernel] = f"compiled by {Path(compiler).name}"
    return library


def kernel_report() -> dict[str, dict[str, str]]:
    """Return, of the kernels used so far, where the loaded ones come from and why the missing ones are missing."""
    return {"loaded": dict(sorted(_loaded.items())), "missing": dict(sorted(_missing.items()))}


def report_line(report: dict[str, dict[str, str]]) -> str | None:
    """Return the report as one line, or None if no kernel was needed.

    >>> report_line({"loaded": {"gelu": "compiled by g++", "muon": "compiled by g++"}, "missing": {}})
    'native kernels: gelu, muon (compiled by g++)'
    >>> report_line({"loaded": {}, "missing": {"gelu": "FIRSTLIGHT_COMPILE=0 turns compiling off"}})
    'native kernels: none, which is slower (FIRSTLIGHT_COMPILE=0 turns compiling off)'
    """
    loaded, missing = report.get("loaded", {}), report.get("missing", {})
    parts = [f"{', '.join(loaded)} ({'; '.join(sorted(set(loaded.values())))})"] if loaded else []
    if missing:
        which = f"not {', '.join(missing)}" if loaded else "none"
        parts.append(f"{which}, which is slower ({'; '.join(sorted(set(missing.values())))})")
    return f"native kernels: {'; '.join(parts)}" if parts else None


def usable_compiler() -> str | None:
    """Return the name of the compiler, or None if there is none or the cache folder cannot be used."""
    try:
        compiler = find_compiler()
        library_dir()
    except NoLibraryError:
        return None
    return Path(compiler).name


def call(library: ctypes.CDLL | None, name: str, *arguments: Any, threads: int) -> None:
    """Call a native function with tensors (or None) as pointers, integers as long, and the number of threads as int.

    Tensors must be contiguous CPU tensors of the dtype that the function expects.
    """
    plain = (
        ctypes.c_long(each) if isinstance(each, int) else ctypes.c_void_p(None if each is None else each.data_ptr())
        for each in arguments
    )
    getattr(library, name)(*plain, ctypes.c_int(threads))


def _load_prebuilt(source: Path, kernel: str) -> ctypes.CDLL | None:
    found = prebuilt_library(kernel) if SOURCES.get(kernel) == source else None
    if found is None:
        return None
    try:
        library = ctypes.CDLL(os.fspath(found[0]))
    except OSError:  # PyTorch has loaded no OpenMP
        return None
    _missing.pop(kernel, None)
    _loaded[kernel] = f"prebuilt for {found[1]}"
    return library


def _load_compiled(source: Path, kernel: str, compiler: str) -> ctypes.CDLL:
    folder, commands = library_dir(), compile_commands(compiler)
    name = f"{kernel}-{fingerprint(source, commands[0])}"
    path = find_or_make(folder, name, lambda made: _compile(source, commands, made))
    try:
        return ctypes.CDLL(os.fspath(path))
    except OSError as error:
        path.unlink(missing_ok=True)
        raise NoLibraryError(f"a library in {folder} cannot be loaded ({error})") from error


def _compile(source: Path, commands: list[list[str]], made: Path) -> None:
    """Compile with the first command that succeeds and whose library can be loaded."""
    for command in commands[:-1]:
        with suppress(subprocess.CalledProcessError, OSError):
            run_compiler([*command, "-o", os.fspath(made), os.fspath(source)])
            ctypes.CDLL(os.fspath(made))
            return
    with explaining_failures(commands[-1][0]):
        run_compiler([*commands[-1], "-o", os.fspath(made), os.fspath(source)])
