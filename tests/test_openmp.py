"""OpenMP's threads sleep soon: the settings reach the library in time, and those of the user are kept."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

from firstlight.openmp import SETTINGS, WAIT_POLICY, limit_spinning


def run(code: str, **variables: str) -> subprocess.CompletedProcess[str]:
    names = {*SETTINGS, WAIT_POLICY}
    environment = {name: value for name, value in os.environ.items() if name not in names} | variables
    return subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True, timeout=120
    )


@pytest.mark.skipif(platform.system() != "Linux", reason="PyTorch brings GNU's OpenMP on Linux only")
def test_the_library_that_pytorch_loads_has_read_the_setting():
    shown = run("import firstlight, torch", OMP_DISPLAY_ENV="VERBOSE").stderr
    assert f"GOMP_SPINCOUNT = '{SETTINGS['GOMP_SPINCOUNT']}'" in shown


@pytest.mark.parametrize("name", [WAIT_POLICY, *SETTINGS])
def test_a_choice_of_the_user_is_kept(name):
    environment = {name: "active"}
    limit_spinning(environment)
    assert environment == {name: "active"}


@pytest.mark.parametrize(("imports", "expected"), [("firstlight, torch", "False"), ("torch, firstlight", "True")])
def test_torch_before_firstlight_is_noticed(imports, expected):
    shown = run(f"import {imports}; from firstlight.openmp import came_too_late; print(came_too_late())").stdout
    assert shown.strip() == expected


def test_a_setting_of_the_user_is_never_too_late():
    code = "import torch, firstlight; from firstlight.openmp import came_too_late; print(came_too_late())"
    assert run(code, GOMP_SPINCOUNT="5").stdout.strip() == "False"
