"""Compilation on this machine: cached, repeated after changes, and optional."""

from __future__ import annotations

import os
import threading
import time
import tomllib
from pathlib import Path

import pytest
import torch

from firstlight.native import compiler
from firstlight.native.compiler import compile_command, compiled, fingerprint, library_path

SOURCE = 'extern "C" int answer() { return 42; }\n'


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A C++ source with one function, and an empty cache folder."""
    if compile_command() is None:
        pytest.skip("no compiler here")
    monkeypatch.setenv("FIRSTLIGHT_CACHE", str(tmp_path / "cache"))
    compiled.cache_clear()
    path = tmp_path / "answer.cpp"
    path.write_text(SOURCE)
    yield path
    compiled.cache_clear()


def kept(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "cache" / "compiled").glob("*"))


def test_compiles_once_and_keeps_it(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert compiled(source).answer() == 42
    (library,) = kept(tmp_path)
    compiled.cache_clear()
    monkeypatch.setattr(compiler, "run_compiler", lambda *a, **k: pytest.fail("compiled again"))
    assert compiled(source).answer() == 42
    assert kept(tmp_path) == [library]


def test_calls_with_tensors_numbers_and_threads(source: Path) -> None:
    source.write_text(
        """extern "C" void put(double *to, const void *nothing, long number, int threads) {
            to[0] = nothing == nullptr; to[1] = number; to[2] = threads;
        }"""
    )
    room = torch.zeros(3, dtype=torch.float64)
    compiler.call(compiled(source), "put", room, None, 2**40, threads=3)
    assert room.tolist() == [1, 2**40, 3]


def test_a_changed_source_or_compiler_is_recompiled(source: Path, tmp_path: Path) -> None:
    command = compile_command()
    before = fingerprint(source, command)
    assert fingerprint(source, [*command, "-O0"]) != before
    compiled(source)
    source.write_text(SOURCE.replace("42", "43"))
    assert fingerprint(source, command) != before
    compiled.cache_clear()
    assert compiled(source).answer() == 43
    assert len(kept(tmp_path)) == 2


def test_a_changed_header_is_recompiled(source: Path, tmp_path: Path) -> None:
    header = tmp_path / "number.hpp"
    header.write_text("constexpr int NUMBER = 1;\n")
    source.write_text('#include "number.hpp"\nextern "C" int answer() { return NUMBER; }\n')
    assert compiled(source).answer() == 1
    header.write_text("constexpr int NUMBER = 2;\n")
    compiled.cache_clear()
    assert compiled(source).answer() == 2


def test_concurrent_processes_get_a_complete_library(source: Path, tmp_path: Path) -> None:
    answers: list[int] = []
    uncached = compiled.__wrapped__
    threads = [threading.Thread(target=lambda: answers.append(uncached(source).answer())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [42] * 4
    assert len(kept(tmp_path)) == 1


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
    assert compiled(source) is None
    compiled.cache_clear()
    assert compile_command() is None, "nothing else waits for it"
    assert compiled(source) is None
    assert time.monotonic() - begun_s < 15
    (record,) = caplog.records
    assert "did not end within 1 s" in record.message
    assert "\n" not in record.message
    child = int((tmp_path / "child").read_text())
    deadline_s = time.monotonic() + 10
    while _is_running(child) and time.monotonic() < deadline_s:
        time.sleep(0.05)
    assert not _is_running(child)


def _is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_planted_library_is_not_loaded(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    planted = tmp_path / "planted.cpp"
    planted.write_text(SOURCE.replace("42", "666"))
    assert compiled(planted).answer() == 666
    (evil,) = kept(tmp_path)
    library = library_path(source, compile_command())
    library.symlink_to(evil)  # others may write links into a folder that was not private
    library.parent.chmod(0o777)
    assert compiled(source).answer() == 42
    assert not library.is_symlink()
    assert library.parent.stat().st_mode & 0o777 == 0o700
    compiled.cache_clear()
    monkeypatch.setattr(os, "getuid", lambda: library.parent.stat().st_uid + 1)
    assert compiled(source) is None, "the folder is another user's"
    assert "is not this user's" in caplog.text


def test_a_library_of_another_user_is_compiled_again(source: Path) -> None:
    if os.getuid() != 0:
        pytest.skip("only root can give a file away")
    compiled(source)
    library = library_path(source, compile_command())
    library.unlink()  # it is mapped into this process
    library.write_bytes(b"not a library, and not mine")
    os.chown(library, 12345, 12345)
    compiled.cache_clear()
    assert compiled(source).answer() == 42
    assert library.stat().st_uid == 0


def test_none_when_turned_off(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIRSTLIGHT_COMPILE", "0")
    assert compiled(source) is None


def test_none_without_a_compiler(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX", raising=False)
    assert compiled(source) is None


def test_none_when_the_compiler_fails_and_nothing_is_left(source: Path, tmp_path: Path) -> None:
    source.write_text("this is no C++")
    assert compiled(source) is None
    assert kept(tmp_path) == []


def test_none_where_the_cache_cannot_be_written(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("FIRSTLIGHT_CACHE", os.fspath(tmp_path / "file"))
    assert compiled(source) is None


def test_none_if_the_cached_file_is_no_library(source: Path, tmp_path: Path) -> None:
    library = library_path(source, compile_command())
    library.parent.mkdir(parents=True)
    library.write_bytes(b"no library")
    assert compiled(source) is None
    assert library.read_bytes() == b"no library"


def test_every_source_is_installed_with_the_package() -> None:
    """A wheel without a source would fail at the first use of its layer."""
    package = Path(compiler.__file__).parents[1]
    settings = tomllib.loads((package.parents[1] / "pyproject.toml").read_text())
    globs = settings["tool"]["setuptools"]["package-data"]["firstlight"]
    installed = {path for each in globs for path in package.glob(each)}
    sources = {path for kind in ("*.cpp", "*.hpp") for path in package.rglob(kind)}
    assert len(sources) > 8
    assert sources <= installed


def test_vectors_and_bfloat16_are_defined_in_one_header() -> None:
    """Two definitions could become different."""
    package = Path(compiler.__file__).parents[1]
    sources = [path for kind in ("*.cpp", "*.hpp") for path in package.rglob(kind)]
    for definition in ("struct bfloat16", "struct Vector {", "float to_float(", "_mm512_cvtneps_pbh"):
        defining = {path.name for path in sources if definition in path.read_text()}
        assert defining == {"simd.hpp"}, definition
