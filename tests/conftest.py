"""Fixtures, and the checks of shapes and types in every annotated signature of firstlight."""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest
from jaxtyping import install_import_hook

os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.setdefault("FIRSTLIGHT_OFFLINE", "1")  # no test may use the network
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # more threads than cores slow the workers down

for name in ("beartype", "jsonargparse", "matplotlib.figure", "pytorch_lightning.loggers", "tensorboard"):
    import_module(name)  # modules that are imported under the hook are compiled from source

with install_import_hook("firstlight", "beartype.beartype"):
    import firstlight.training.fit  # noqa: F401  # with all that it stands on
install_import_hook("firstlight", "beartype.beartype")  # and modules that are imported later

from firstlight.data.source import SOURCES  # noqa: E402
from firstlight.files import write_atomic  # noqa: E402
from firstlight.native.dispatch import KERNELS  # noqa: E402
from reference.browser import Page, chromium  # noqa: E402
from reference.tiny import tiny_split  # noqa: E402  # after the hook

KEPT_LIBRARIES = Path(__file__).parents[1] / ".cache" / "compiled"  # `make clean` removes it


@pytest.fixture(scope="session", autouse=True)
def _cache_of_the_tests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test leaves anything in the user's cache folder. Compiled kernels are kept from one test run to the next."""
    cache = tmp_path_factory.mktemp("cache")
    _copy_libraries(KEPT_LIBRARIES, cache / "compiled")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FIRSTLIGHT_CACHE", str(cache))
        yield
    _copy_libraries(cache / "compiled", KEPT_LIBRARIES)


def _copy_libraries(start: Path, end: Path) -> None:
    """Copy the libraries of our own kernels that `end` lacks; their names hold digests of all that they depend on."""
    for library in (path for kernel in KERNELS for path in start.glob(f"{kernel}-*.so")):
        if not (end / library.name).exists():
            write_atomic(end / library.name, library.read_bytes())


@pytest.fixture(scope="module")
def browser() -> Iterator[Page]:
    """A headless Chromium; tests that need it skip without it."""
    with chromium() as page:
        yield page


@pytest.fixture(scope="session")
def cifar10_dir() -> Path:
    """The folder with the official CIFAR-10 files; tests that need it skip without it."""
    path = os.environ.get("FIRSTLIGHT_TEST_CIFAR10")
    if not path:
        pytest.skip("FIRSTLIGHT_TEST_CIFAR10 does not name a folder with the official files")
    return Path(path)


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a data set of a few hundred easy images, registered during one test."""
    monkeypatch.setitem(SOURCES, "tiny", lambda data_dir, split: tiny_split(split))
    return "tiny"
