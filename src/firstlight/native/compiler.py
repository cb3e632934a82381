"""Compile C++ sources on the machine that runs them, and keep the libraries in the cache folder."""

from __future__ import annotations

import ctypes
import hashlib
import logging
import os
import platform
import shutil
import signal
import stat
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
PATIENCE_S = 20  # with a compiler that does not end; no further source is then compiled

_hanging: set[str] = set()  # compilers that did not end in this process
_log = logging.getLogger("firstlight")


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
        make_private(library.parent)
        if not is_own_file(library):
            library.unlink(missing_ok=True)
            with atomic(library) as made:
                run_compiler([*command, "-o", os.fspath(made), os.fspath(source)])
        return ctypes.CDLL(os.fspath(library))
    except subprocess.TimeoutExpired:
        _hanging.add(command[0])
        _log.warning(
            f"warning: {command[0]} did not end within {PATIENCE_S} s, so PyTorch's slower layers are used. Mend the "
            f"compiler, name another in CXX, or turn compiling off with {COMPILE}=0"
        )
        return None
    except (OSError, subprocess.SubprocessError, WriteError):
        return None


def run_compiler(command: list[str]) -> None:
    """Run a compiler, and kill it with all the processes that it has started if it does not end.

    Raises:
        OSError, subprocess.SubprocessError: It cannot be started, fails, or does not end within `PATIENCE_S`.
    """
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, start_new_session=True) as process:
        try:
            output, errors = process.communicate(timeout=PATIENCE_S)
        except BaseException:  # Ctrl-C, too
            if hasattr(os, "killpg"):
                os.killpg(process.pid, signal.SIGKILL)
            else:
                process.kill()
            raise
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command, output, errors)


def make_private(folder: Path) -> None:
    """Create a folder that only this user can read and change; a library that others put there would run as this user.

    Raises:
        OSError: The folder belongs to another user, or cannot be made.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or (hasattr(os, "getuid") and status.st_uid != os.getuid()):
        _log.warning(
            f"warning: {folder} is not this user's, so nothing is compiled; name another cache in FIRSTLIGHT_CACHE"
        )
        raise PermissionError(f"{folder} belongs to another user")
    if stat.S_IMODE(status.st_mode) != 0o700:
        folder.chmod(0o700)


def is_own_file(path: Path) -> bool:
    """Return whether a path is a regular file of this user, and no link."""
    try:
        status = path.lstat()
    except OSError:
        return False
    return stat.S_ISREG(status.st_mode) and (not hasattr(os, "getuid") or status.st_uid == os.getuid())


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
    return [found[0], *OPTIONS] if found and found[0] not in _hanging else None


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
