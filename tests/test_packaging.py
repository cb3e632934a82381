"""The package's metadata: one version, floors that are tested, and a description with absolute links."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import firstlight

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def test_the_version_is_written_once_and_cited() -> None:
    assert "version" not in PROJECT
    assert f"\nversion: {firstlight.__version__}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")


def test_the_lowest_constraints_are_the_declared_floors() -> None:
    floors = dict(re.match(r"([\w-]+)(?:\[\w+\])?>=([\d.]+)", each).groups() for each in PROJECT["dependencies"])
    lines = (ROOT / "constraints-lowest.txt").read_text(encoding="utf-8").splitlines()
    pinned = dict(line.split("==") for line in lines if not line.startswith("#"))
    assert set(floors) <= set(pinned)
    for name, floor in floors.items():
        assert pinned[name].removesuffix(".0").removesuffix(".0") == floor.removesuffix(".0"), name


def test_the_links_of_the_description_are_absolute() -> None:
    home = "https://example.org/owner/name"
    code = (
        "import setuptools; setuptools.setup = lambda **options: print(options['long_description'])\n"
        "import runpy; runpy.run_path('setup.py')"
    )
    environment = os.environ | {"FIRSTLIGHT_REPOSITORY": home, "PYTHONUTF8": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, encoding="utf-8"
    )
    assert done.returncode == 0, done.stderr
    links = re.findall(r"\]\(([^)]+)\)", done.stdout)
    assert len(links) > 10
    assert all(link.startswith(("https://", "#")) for link in links), links
    assert f'<img src="{home}/raw/main/docs/figures/front.png"' in done.stdout
