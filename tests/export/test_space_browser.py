"""An exported Space, started from its folder alone as a Space starts it, and used in a browser."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from firstlight.app.service import MapOptions, Service
from firstlight.app.upload_limits import read_upload
from firstlight.cli import main
from firstlight.export.bundle import Bundle
from reference.browser import WAIT_S, chromium
from reference.hostile import GOOD

pytestmark = pytest.mark.slow

# Starts app.py like `python app.py`, in an interpreter that finds only the packages of requirements.txt
# and their dependencies, as in a Space.
ONLY_PINNED = r"""
import importlib.abc, importlib.metadata, re, runpy, sys

def plain(name):
    return re.sub(r"[-_.]+", "-", name).lower()

def closure(names):
    found, todo = set(), list(names)
    while todo:
        name = plain(todo.pop())
        if name in found:
            continue
        found.add(name)
        try:
            asked = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue
        todo += [re.match(r"[\w.-]+", each)[0] for each in asked if "extra ==" not in each]
    return found

pins = [line.split("==")[0] for line in open("requirements.txt") if "==" in line]
allowed = closure(pins)
blocked = {
    module
    for module, owners in importlib.metadata.packages_distributions().items()
    if module != "firstlight" and not set(map(plain, owners)) & allowed
}
assert {"pytorch_lightning", "pytest", "jsonargparse", "torchmetrics", "tensorboard", "selenium"} <= blocked

class Hiding(importlib.abc.MetaPathFinder):
    # Finds what another finder finds, except packages that a Space does not have.

    def __init__(self, finder):
        self.finder = finder
        self.find_distributions = getattr(finder, "find_distributions", None)

    def find_spec(self, name, path=None, target=None):
        return None if name.split(".")[0] in blocked else self.finder.find_spec(name, path, target)

sys.meta_path[:] = [Hiding(finder) for finder in sys.meta_path]
sys.path.insert(0, sys.argv[1])
import firstlight
assert firstlight.__file__.startswith(sys.argv[1]), firstlight.__file__
runpy.run_path("app.py", run_name="__main__")
"""


@pytest.fixture(scope="module")
def space(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("space") / "demo"
    assert main(["export", str(bundle.path), "--to", "space", str(folder)]) == 0
    return folder


@pytest.fixture(scope="module")
def address(space: Path) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # A Space tells Gradio by these where to listen.
    environment = os.environ | {"GRADIO_SERVER_NAME": "127.0.0.1", "GRADIO_SERVER_PORT": str(port)}
    environment.pop("PYTHONPATH", None)
    started = subprocess.Popen(
        [sys.executable, "-c", ONLY_PINNED, str(space)],
        cwd=space,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    found = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + WAIT_S
    try:
        while time.monotonic() < deadline and started.poll() is None:
            try:
                if httpx.get(found, timeout=5).status_code == 200:
                    break
            except httpx.TransportError:
                time.sleep(0.3)
        else:
            started.kill()
            pytest.fail(f"the Space does not start: {started.communicate()[0]}")
        yield found
    finally:
        started.terminate()
        started.wait(30)
    assert started.returncode == 0, "SIGTERM stops it in order"


def test_the_space_classifies_filters_and_shows_the_model(
    address: str, bundle: Bundle, tmp_path: Path, space: Path
) -> None:
    service, photo = Service(bundle), tmp_path / "photo.jpg"
    photo.write_bytes(GOOD["photo.jpg"]())
    answer = service.predict(read_upload(photo.read_bytes(), "photo.jpg", (16, 16)).pixels)
    with chromium() as page:
        page.open(address)
        assert len(page.all(".fl-example")) == 4
        page.upload(photo)
        page.wait_for("#answer .fl-map")
        assert page.text("#answer h2").startswith(answer.prediction.label)
        before = page.sources("#answer .fl-map")
        page.choose("classify-stage", "layer1")
        page.until(lambda: page.all("#answer .fl-map") and page.sources("#answer .fl-map") != before, "the same map")
        page.slide("classify-opacity", 0.2)
        page.until(
            lambda: page.wait_for("#answer .fl-map").value_of_css_property("opacity") == "0.2", "the same opacity"
        )
        page.tab("Mistakes")
        some = service.mistakes(options=MapOptions(None)).items[0]
        page.choose("true", some.true_name)
        found = service.mistakes(some.true_name, options=MapOptions(None))
        page.until(lambda: f"{found.num_found} of {found.num_wrong} mistakes" in page.text("#wrong"), "no filter")
        page.tab("Model")
        page.until(lambda: f"{bundle.measured['test']['single_view']:.2%}" in page.text(), "no accuracy")
        assert page.hosts() == {address.removeprefix("http://")}
    assert not list(space.rglob("*.pyi")), "the server writes nothing into its own folder"
