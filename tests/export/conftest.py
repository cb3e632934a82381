"""A run and its bundle, for all tests of exporting."""

from __future__ import annotations

import pytest

from firstlight.export.bundle import Bundle
from firstlight.runs.run import Run
from reference.made_bundle import make_tiny_bundle


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Bundle]:
    return make_tiny_bundle(tmp_path_factory.mktemp("made"))


@pytest.fixture(scope="session")
def run(made: tuple[Run, Bundle]) -> Run:
    return made[0]


@pytest.fixture(scope="session")
def bundle(made: tuple[Run, Bundle]) -> Bundle:
    return made[1]
