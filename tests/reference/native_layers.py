"""Shared helpers of the tests of layers with native kernels."""

from __future__ import annotations

import ctypes
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from firstlight.layers.conv3x3 import layer
from firstlight.layers.conv3x3.amx import SOURCE, AmxConvolution
from firstlight.layers.conv3x3.amx import amx_convolution as on_this_cpu
from firstlight.native import cpu
from firstlight.native.compiler import NoLibraryError, compile_commands, find_compiler

TILES_BY_LOOPS = Path(__file__).with_name("amx_tiles.hpp")


@pytest.fixture
def always_compiled(monkeypatch: pytest.MonkeyPatch) -> Callable[[ModuleType], None]:
    """Make the layer of a module use its native kernel for any input size; skip without a compiler."""

    def take(module: ModuleType) -> None:
        if module._library() is None:
            pytest.skip("nothing can be compiled here")
        monkeypatch.setattr(module, "MIN_ELEMENTS", 0)

    return take


@pytest.fixture(scope="session")
def emulated_amx(tmp_path_factory: pytest.TempPathFactory) -> AmxConvolution:
    """The AMX convolution with emulated tiles; skips if the vector instructions are missing, too."""
    try:
        command = compile_commands(find_compiler())[0]
    except NoLibraryError as error:
        pytest.skip(str(error))
    if not cpu.has_avx512_bf16():
        pytest.skip("this CPU has no AVX512-BF16")
    library = tmp_path_factory.mktemp("amx") / "amx.so"
    subprocess.run([*command, "-include", TILES_BY_LOOPS, "-o", library, SOURCE], check=True, capture_output=True)
    return AmxConvolution(ctypes.CDLL(str(library)))


@pytest.fixture(params=["the CPU's tiles", "emulated tiles"])
def amx_convolution(request: pytest.FixtureRequest) -> AmxConvolution:
    """The AMX convolution with this CPU's tiles, if it has any, and with emulated ones."""
    if request.param == "emulated tiles":
        return request.getfixturevalue("emulated_amx")
    algorithm = on_this_cpu()
    if algorithm is None:
        pytest.skip("this CPU has no AMX, or nothing can be compiled here")
    return algorithm


@pytest.fixture
def tiles(amx_convolution: AmxConvolution, monkeypatch: pytest.MonkeyPatch) -> AmxConvolution:
    """Make layers use the AMX convolution, as on a CPU with AMX."""
    monkeypatch.setattr(cpu, "has_amx", lambda: True)
    monkeypatch.setattr(layer, "amx_convolution", lambda: amx_convolution)
    return amx_convolution
