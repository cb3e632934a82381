"""Fixtures, and the shape checks: every annotated signature of firstlight is enforced while the tests run."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from jaxtyping import install_import_hook

install_import_hook("firstlight", "beartype.beartype")

os.environ.setdefault("MPLBACKEND", "Agg")


@pytest.fixture(scope="session")
def cifar10_dir() -> Path:
    """The folder with the official CIFAR-10 files; tests that need it skip where it is not given."""
    place = os.environ.get("FIRSTLIGHT_TEST_CIFAR10")
    if not place:
        pytest.skip("FIRSTLIGHT_TEST_CIFAR10 does not name a folder with the official files")
    return Path(place)
