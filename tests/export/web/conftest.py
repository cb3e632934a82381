"""The browser demo of a tiny bundle, and its address on a static host, in a sub-path."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from firstlight.cli import main
from firstlight.export.bundle import Bundle
from reference.browser import Page
from reference.static_server import static_server

sys.path.append(str(Path(__file__).parents[3] / "benchmarks"))  # the made pictures


@pytest.fixture(scope="session")
def host(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the host serves."""
    return tmp_path_factory.mktemp("host")


@pytest.fixture(scope="session")
def site(host: Path, bundle: Bundle) -> Path:
    pytest.importorskip("onnx")
    folder = host / "pages" / "demo"
    assert main(["export", str(bundle.path), "--to", "web", str(folder)]) == 0
    return folder


@pytest.fixture(scope="session")
def host_address(host: Path) -> Iterator[str]:
    with static_server(host) as address:
        yield address


@pytest.fixture(scope="session")
def address(site: Path, host_address: str) -> str:
    return f"{host_address}/pages/demo/"


@pytest.fixture
def page(browser: Page, address: str) -> Page:
    """The page with its model ready."""
    browser.open(address)
    browser.until(lambda: not browser.all("#startup"), "the model does not load")
    return browser
