"""The convolution by matrix tiles, on CPUs that have none as well."""

from __future__ import annotations

import ctypes
import subprocess
from pathlib import Path

import pytest
import torch

from firstlight.compiler import compile_command
from firstlight.networks.conv3x3.amx import SOURCE, AmxConvolution
from firstlight.networks.conv3x3.amx import amx_convolution as on_this_cpu

TILES_BY_LOOPS = Path(__file__).parents[2] / "reference/amx_tiles.hpp"


@pytest.fixture(scope="session")
def emulated_amx(tmp_path_factory: pytest.TempPathFactory) -> AmxConvolution:
    """The convolution with plain loops for tiles; skips where the vectors around them are missing, too."""
    command = compile_command()
    if command is None or not getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)():
        pytest.skip("nothing can be compiled here, or this CPU has no AVX512-BF16")
    library = tmp_path_factory.mktemp("amx") / "amx.so"
    subprocess.run([*command, "-include", TILES_BY_LOOPS, "-o", library, SOURCE], check=True, capture_output=True)
    return AmxConvolution(ctypes.CDLL(str(library)))


@pytest.fixture(params=["the CPU's tiles", "emulated tiles"])
def amx_convolution(request: pytest.FixtureRequest) -> AmxConvolution:
    """The convolution by the tiles of this CPU, if it has any, and by emulated ones."""
    if request.param == "emulated tiles":
        return request.getfixturevalue("emulated_amx")
    way = on_this_cpu()
    if way is None:
        pytest.skip("this CPU has no AMX, or nothing can be compiled here")
    return way
