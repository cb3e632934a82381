"""Find a C++ compiler, and compile a source into a library for the CPU of this machine."""

from __future__ import annotations

import os
import platform
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

COMPILE = "FIRSTLIGHT_COMPILE"  # environment variable: 0 turns compiling off
COMPILERS = ("c++", "g++", "clang++")
INCLUDE = Path(__file__).parent  # folder of the shared headers
OPTIONS = ["-std=c++17", "-O3", "-shared", "-fPIC", "-Wno-psabi", f"-I{INCLUDE}"]
PATIENCE_S = 20  # with a compiler that does not work; one that works may take longer on a busy machine
MAX_S = 120  # for a compiler that works
MIN_SHARE = 0.01  # of a core; a compiler that uses less does not work
# Apple's clang knows OpenMP, but has no library of it. PyTorch's is loaded already, and its names are found at run
# time; a second one in the same process would end it. Homebrew's is for a PyTorch without OpenMP.
MACOS_OPENMP: tuple[list[str], ...] = (
    ["-Xpreprocessor", "-fopenmp", "-undefined", "dynamic_lookup"],
    ["-Xpreprocessor", "-fopenmp", "-L/opt/homebrew/opt/libomp/lib", "-L/usr/local/opt/libomp/lib", "-lomp"],
    [],  # one thread
)

_hanging: set[str] = set()  # compilers that did not end in this process


class NoLibraryError(Exception):
    """No native library can be used; the message says why, as the rest of a sentence."""


def find_compiler() -> str:
    """Return the path of the compiler: `$CXX`, else c++, g++ or clang++.

    Raises:
        NoLibraryError: Compiling is turned off, or there is no compiler, or it did not end before.
    """
    if os.environ.get(COMPILE) == "0":
        raise NoLibraryError(f"{COMPILE}=0 turns compiling off")
    found = [path for name in (os.environ.get("CXX"), *COMPILERS) if name and (path := shutil.which(name))]
    if not found:
        raise NoLibraryError("there is no C++ compiler: install g++ or clang++, or name one in CXX")
    if found[0] in _hanging:
        raise NoLibraryError(
            f"{found[0]} does not end: mend it, name another compiler in CXX, or turn compiling off with {COMPILE}=0"
        )
    return found[0]


def compile_commands(compiler: str, system: str = platform.system()) -> list[list[str]]:
    """Return the compiler with its options, in the order in which to try them.

    >>> [command[-1] for command in compile_commands("clang++", "Darwin")[:2]]
    ['dynamic_lookup', '-lomp']
    """
    if system == "Darwin":
        tuned = "-mcpu=native" if platform.machine() != "x86_64" else "-march=native"
        return [[compiler, *OPTIONS, tuned, *openmp] for openmp in MACOS_OPENMP]
    return [[compiler, *OPTIONS, "-march=native", "-fopenmp"]]


@contextmanager
def explaining_failures(compiler: str) -> Iterator[None]:
    """Turn the failures of a compiler into a NoLibraryError, and remember a compiler that hangs."""
    try:
        yield
    except subprocess.TimeoutExpired:
        _hanging.add(compiler)
        find_compiler()
        raise NoLibraryError(f"{compiler} does not end") from None  # CXX has just changed
    except subprocess.CalledProcessError as error:
        message = _first_error(error.stderr.decode(errors="replace"))
        lacks_openmp = re.search(r"\bl?omp\b|openmp", message, re.IGNORECASE) is not None
        raise NoLibraryError(f"{compiler} {'has no OpenMP' if lacks_openmp else 'failed'}: {message}") from None
    except OSError as error:
        raise NoLibraryError(f"{compiler} cannot be started: {error.strerror or error}") from None


def run_compiler(command: list[str]) -> None:
    """Run a compiler, and kill it with all the processes that it has started if it does not end.

    Raises:
        OSError, subprocess.SubprocessError: It cannot be started, fails, or does not end: it has used hardly any
            processor time for `PATIENCE_S`, or has run for `MAX_S`.
    """
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, start_new_session=True) as process:
        try:
            output, errors = _output(process)
        except BaseException:  # Ctrl-C, too
            if hasattr(os, "killpg"):
                os.killpg(process.pid, signal.SIGKILL)
            else:
                process.kill()
            raise
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command, output, errors)


def _output(process: subprocess.Popen[bytes]) -> tuple[bytes, bytes]:
    """Return what a compiler prints, as soon as it ends.

    Raises:
        subprocess.TimeoutExpired: See `run_compiler`.
    """
    end_s, used_s = time.monotonic() + MAX_S, 0.0
    while True:
        try:
            return process.communicate(timeout=PATIENCE_S)
        except subprocess.TimeoutExpired:
            before_s, used_s = used_s, processor_time_s(process.pid)
            if used_s - before_s < MIN_SHARE * PATIENCE_S or time.monotonic() > end_s:
                raise


def processor_time_s(session: int) -> float:
    """Return the processor time in seconds that the processes of a session have used; 0 on systems without `/proc`."""
    ticks = 0
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # the process has ended meanwhile
            fields = (
                path.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
            )  # from the third on, see proc(5)
            if int(fields[3]) == session:
                ticks += sum(int(field) for field in fields[11:15])  # its own, and that of children that have ended
    return ticks / os.sysconf("SC_CLK_TCK") if ticks else 0.0


def _first_error(text: str) -> str:
    """Return the first line of a compiler's messages that names an error, for one line of ours."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    chosen = next((line for line in lines if "error" in line or "cannot find" in line), lines[0] if lines else "")
    return chosen[:200] or "it prints no message"
