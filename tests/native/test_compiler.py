"""The compiler and its options, and the sources that it compiles."""

from __future__ import annotations

import tomllib
from pathlib import Path

from firstlight.native import compiler
from firstlight.native.compiler import compile_commands


def test_apples_clang_is_tried_with_pytorchs_openmp_then_homebrews_then_with_none() -> None:
    first, second, third = compile_commands("clang++", "Darwin")
    assert "dynamic_lookup" in first
    assert "-lomp" in second
    assert not any("omp" in option for option in third)
    assert [first[0], second[0], third[0]] == ["clang++"] * 3
    (command,) = compile_commands("g++", "Linux")
    assert {"-fopenmp", "-march=native"} < set(command)


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
