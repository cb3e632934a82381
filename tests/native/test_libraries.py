"""Libraries compiled on this machine: kept, repaired, made once by many processes, private, and reported."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch

from firstlight.native import compiler, libraries, library_cache
from firstlight.native.compiler import NoLibraryError, compile_commands, find_compiler
from firstlight.native.libraries import call, kernel_report, load_library, report_line, usable_compiler
from firstlight.native.library_cache import fingerprint

SOURCE = 'extern "C" int answer() { return 42; }\n'
ONE_ANSWER = """
import sys
from pathlib import Path
from firstlight.native.libraries import load_library
print(load_library(Path(sys.argv[1]), "answer").answer())
"""


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A C++ source with one function, and an empty cache folder."""
    try:
        find_compiler()
    except NoLibraryError as error:
        pytest.skip(str(error))
    monkeypatch.setenv("FIRSTLIGHT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(libraries, "_loaded", {})
    monkeypatch.setattr(libraries, "_missing", {})
    path = tmp_path / "answer.cpp"
    path.write_text(SOURCE)
    load_library.cache_clear()
    if load_library(path, "answer") is None:
        pytest.skip(libraries.report_line(kernel_report()))
    for library in (tmp_path / "cache" / "compiled").iterdir():
        library.unlink()
    libraries._loaded.clear()
    load_library.cache_clear()
    yield path
    load_library.cache_clear()


def answer(source: Path) -> int | None:
    """Load the library as a new process does, and call it."""
    load_library.cache_clear()
    library = load_library(source, "answer")
    return None if library is None else library.answer()


def kept(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "cache" / "compiled").glob("*"))


def test_compiles_once_and_keeps_it(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert answer(source) == 42
    (library,) = kept(tmp_path)
    assert library.name.startswith("answer-")
    monkeypatch.setattr(libraries, "run_compiler", lambda *a, **k: pytest.fail("compiled again"))
    assert answer(source) == 42
    assert kept(tmp_path) == [library]


def test_calls_with_tensors_numbers_and_threads(source: Path) -> None:
    source.write_text(
        """extern "C" void put(double *to, const void *nothing, long number, int threads) {
            to[0] = nothing == nullptr; to[1] = number; to[2] = threads;
        }""",
        encoding="utf-8",
    )
    room = torch.zeros(3, dtype=torch.float64)
    call(load_library(source, "answer"), "put", room, None, 2**30, threads=3)
    assert room.tolist() == [1, 2**30, 3]


def test_a_changed_source_or_compiler_is_recompiled(source: Path, tmp_path: Path) -> None:
    (command, *_) = compile_commands(find_compiler())
    before = fingerprint(source, command)
    assert fingerprint(source, [*command, "-O0"]) != before
    answer(source)
    source.write_text(SOURCE.replace("42", "43"), encoding="utf-8")
    assert fingerprint(source, command) != before
    assert answer(source) == 43
    assert len(kept(tmp_path)) == 2


def test_a_changed_header_is_recompiled(source: Path, tmp_path: Path) -> None:
    header = tmp_path / "number.hpp"
    header.write_text("constexpr int NUMBER = 1;\n")
    source.write_text('#include "number.hpp"\nextern "C" int answer() { return NUMBER; }\n', encoding="utf-8")
    assert answer(source) == 1
    header.write_text("constexpr int NUMBER = 2;\n")
    assert answer(source) == 2


def test_a_library_unused_for_a_month_and_leftovers_are_removed_when_another_is_made(
    source: Path, tmp_path: Path
) -> None:
    answer(source)
    (old,) = kept(tmp_path)
    left, young = old.with_name(".answer-1.so"), old.with_name(".answer-2.so")
    for path in (left, young):
        path.write_bytes(b"half")
    os.utime(left, (time.time() - 7200,) * 2)
    os.utime(old, (time.time() - 29 * 86400,) * 2)
    assert answer(source) == 42
    assert time.time() - old.stat().st_mtime < 60, "loading counts as use"
    os.utime(old, (time.time() - 31 * 86400,) * 2)
    source.write_text(SOURCE.replace("42", "43"), encoding="utf-8")
    assert answer(source) == 43
    assert {path.exists() for path in (old, left)} == {False}
    assert young.exists(), "another process may be writing it"


def test_concurrent_threads_get_a_complete_library(source: Path, tmp_path: Path) -> None:
    answers: list[int] = []
    uncached = load_library.__wrapped__
    threads = [threading.Thread(target=lambda: answers.append(uncached(source, "answer").answer())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [42] * 4
    assert [path.suffix for path in kept(tmp_path)] == [".so"]


@pytest.mark.slow
def test_six_processes_compile_once_even_if_the_first_is_killed(source: Path, tmp_path: Path) -> None:
    slow, log = tmp_path / "slow-compiler", tmp_path / "log"
    slow.write_text(f'#!/bin/sh\necho $PPID >> {log}\nsleep 3\nexec {find_compiler()} "$@"\n')
    slow.chmod(0o755)
    environment = os.environ | {"CXX": str(slow)}
    command = [sys.executable, "-c", ONE_ANSWER, str(source)]
    processes = [
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(6)
    ]
    try:
        deadline_s = time.monotonic() + 120
        while not log.exists() and time.monotonic() < deadline_s:
            time.sleep(0.05)
        first = int(log.read_text().split()[0])
        os.kill(first, signal.SIGKILL)  # in the middle of its compilation
        ends = {process.pid: (*process.communicate(timeout=120), process.returncode) for process in processes}
    finally:
        for process in processes:
            process.kill()
    assert ends.pop(first)[2] == -signal.SIGKILL
    assert {end[:1] + end[2:] for end in ends.values()} == {("42\n", 0)}, ends
    assert len(log.read_text().split()) == 2, "the killed process and one other have compiled"
    assert [path.suffix for path in kept(tmp_path) if not path.name.startswith(".")] == [".so"]


def test_a_compiler_that_hangs_costs_one_patience_and_leaves_no_process(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    hanging = tmp_path / "hanging"
    hanging.write_text(f"#!/bin/sh\nsleep 300 &\necho $! > {tmp_path}/child\nwait\n")
    hanging.chmod(0o755)
    monkeypatch.setenv("CXX", str(hanging))
    monkeypatch.setattr(compiler, "PATIENCE_S", 1)
    monkeypatch.setattr(compiler, "_hanging", set())
    begun_s = time.monotonic()
    assert answer(source) is None
    with pytest.raises(NoLibraryError, match="does not end"):
        find_compiler()
    assert answer(source) is None, "nothing else waits for it"
    assert time.monotonic() - begun_s < 15
    (record,) = caplog.records
    assert "does not end" in record.message
    assert "\n" not in record.message
    child = int((tmp_path / "child").read_text())
    deadline_s = time.monotonic() + 10
    while _is_running(child) and time.monotonic() < deadline_s:
        time.sleep(0.05)
    assert not _is_running(child)


def test_a_compiler_that_works_may_take_longer(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not Path("/proc/self/stat").exists():
        pytest.skip("this system does not tell the processor time of other processes")
    slow = tmp_path / "slow"
    work = 'timeout 1.2 sh -c "while :; do :; done"'  # in a child, as c++ starts cc1plus
    slow.write_text(f'#!/bin/sh\n{work}\nexec {find_compiler()} "$@"\n')
    slow.chmod(0o755)
    monkeypatch.setenv("CXX", str(slow))
    monkeypatch.setattr(compiler, "PATIENCE_S", 0.4)
    monkeypatch.setattr(compiler, "_hanging", set())
    assert answer(source) == 42
    monkeypatch.setattr(compiler, "MAX_S", 0.2)
    source.write_text(SOURCE.replace("42", "43"), encoding="utf-8")
    assert answer(source) is None, "but not for ever"


def _is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_planted_library_is_not_loaded(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    evil = tmp_path / "evil.cpp"
    evil.write_text(SOURCE.replace("42", "666"))
    assert answer(evil) == 666
    (planted,) = kept(tmp_path)
    assert answer(source) == 42
    (library,) = set(kept(tmp_path)) - {planted}
    content = planted.read_bytes()
    library.unlink()
    library.symlink_to(planted)  # others may write links into a folder that was not private
    library.parent.chmod(0o777)
    assert answer(source) == 42
    assert not library.is_symlink()
    assert library.parent.stat().st_mode & 0o777 == 0o700
    assert planted.read_bytes() == content
    monkeypatch.setattr(os, "getuid", lambda: library.parent.stat().st_uid + 1)
    assert answer(source) is None, "the folder is another user's"
    assert "belongs to another user" in kernel_report()["missing"]["answer"]


def test_a_library_of_another_user_is_compiled_again(source: Path, tmp_path: Path) -> None:
    if not hasattr(os, "getuid") or os.getuid() != 0:
        pytest.skip("only root can give a file away")
    answer(source)
    (library,) = kept(tmp_path)
    content = library.read_bytes()
    library.unlink()  # it is mapped into this process
    library.write_bytes(content)
    os.chown(library, 12345, 12345)
    assert answer(source) == 42
    assert library.stat().st_uid == 0


@pytest.mark.parametrize("damage", ["truncated", "emptied", "changed"])
def test_a_damaged_library_is_compiled_again(source: Path, tmp_path: Path, damage: str) -> None:
    answer(source)
    (library,) = kept(tmp_path)
    content = library.read_bytes()
    library.unlink()  # it is mapped into this process
    half = len(content) // 2
    bad = {"truncated": content[:half], "emptied": b"", "changed": content[:half] + b"!" + content[half + 1 :]}[damage]
    library.write_bytes(bad)
    assert answer(source) == 42
    assert [path.read_bytes() != bad for path in kept(tmp_path)] == [True]


def test_the_report_names_the_compiler_of_a_loaded_library(source: Path) -> None:
    answer(source)
    assert kernel_report() == {"loaded": {"answer": f"compiled by {Path(find_compiler()).name}"}, "missing": {}}
    assert usable_compiler() == Path(find_compiler()).name


def _reason(source: Path, caplog: pytest.LogCaptureFixture, is_logged: bool = True) -> str:
    """Return why the library is missing; the reason is logged once, and one line reports it."""
    assert answer(source) is None
    assert answer(source) is None
    report = kernel_report()
    assert report["loaded"] == {}
    (reason,) = report["missing"].values()
    assert report_line(report) == f"native kernels: none, which is slower ({reason})"
    assert [reason in record.message for record in caplog.records] == [True] * is_logged
    assert "\n" not in reason
    return reason


def test_none_when_turned_off(source: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setenv("FIRSTLIGHT_COMPILE", "0")
    assert _reason(source, caplog, is_logged=False) == "FIRSTLIGHT_COMPILE=0 turns compiling off"
    assert usable_compiler() is None


def test_none_without_a_compiler(
    source: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX", raising=False)
    assert "install g++" in _reason(source, caplog)
    assert usable_compiler() is None


def test_none_without_openmp(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    bare = tmp_path / "bare-clang"  # with the message of a clang without libomp
    bare.write_text("#!/bin/sh\necho '/usr/bin/ld: cannot find -lomp: No such file or directory' >&2\nexit 1\n")
    bare.chmod(0o755)
    monkeypatch.setenv("CXX", str(bare))
    assert "bare-clang has no OpenMP: /usr/bin/ld: cannot find -lomp" in _reason(source, caplog)


def test_none_if_the_compiler_cannot_be_started(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    broken = tmp_path / "broken"
    broken.write_bytes(b"\x7fELF no program")
    broken.chmod(0o755)
    monkeypatch.setenv("CXX", str(broken))
    assert "broken cannot be started: Exec format error" in _reason(source, caplog)


def test_none_when_the_compiler_fails_and_nothing_is_left(
    source: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source.write_text("this is no C++", encoding="utf-8")
    assert "failed: " in _reason(source, caplog)
    assert kept(tmp_path) == []


def test_none_where_the_cache_cannot_be_made_and_no_compiler_is_claimed(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("FIRSTLIGHT_CACHE", os.fspath(tmp_path / "file"))
    assert "cannot be made (Not a directory): name another cache in FIRSTLIGHT_CACHE" in _reason(source, caplog)
    assert usable_compiler() is None


def test_none_where_the_cache_cannot_be_written(
    source: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(library_cache.os, "access", lambda _, mode: mode != os.W_OK)  # root may write anywhere
    assert "cannot be written" in _reason(source, caplog)
    assert usable_compiler() is None


def test_none_if_the_new_library_cannot_be_loaded(
    source: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """As in a cache on a disk that is mounted without the right to execute."""
    source.write_text('extern "C" int missing(); extern "C" int answer() { return missing(); }\n', encoding="utf-8")
    assert "cannot be loaded" in _reason(source, caplog)
    assert kept(tmp_path) == []


def test_one_line_reports_loaded_and_missing_kernels() -> None:
    report = {"loaded": {"gelu": "compiled by g++"}, "missing": {"muon": "g++ failed: no"}}
    assert report_line(report) == ("native kernels: gelu (compiled by g++); not muon, which is slower (g++ failed: no)")
    assert report_line({"loaded": {}, "missing": {}}) is None
