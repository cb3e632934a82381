"""A bundle, and its page on loopback, for all tests of the app."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from firstlight.export.bundle import Bundle
from reference.made_bundle import make_tiny_bundle


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_tiny_bundle(tmp_path_factory.mktemp("made"))[1]


@pytest.fixture(scope="session")
def address(bundle: Bundle) -> Iterator[str]:
    """The address of the tiny bundle's page, without a trailing slash."""
    from firstlight.app.serving import served

    with served(bundle, "127.0.0.1") as found:
        yield found.rstrip("/")
