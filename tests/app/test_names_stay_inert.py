"""Markup in the names of classes and recipes is shown as text; nothing of it runs, in the app and in the report."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import httpx
import pytest
from safetensors import safe_open

from firstlight.app.serving import served
from firstlight.export.bundle import Bundle
from firstlight.recipes.config import Recipe
from firstlight.reports.run_report import write_report
from firstlight.runs.run import Run
from firstlight.safetensors_bytes import safetensors_bytes
from reference.browser import Page
from reference.made_run import make_run
from reference.tiny import tiny_split

pytestmark = pytest.mark.slow

RUN = "document.documentElement.dataset.attacked=1"
NAMES = (
    f'<img src=x onerror="{RUN}">',
    f"</script><script>{RUN}</script>",
    f'"><svg onload={RUN}>',
    f"<a href='javascript:{RUN}'>x</a>${{{RUN}}}{{{{{RUN}}}}}",
)
ATTACKED = "return document.documentElement.dataset.attacked || ''"
ELEMENTS = "return document.querySelectorAll('img[src=x], svg[onload], [onerror], a[href^=javascript]').length"


def assert_inert(browser: Page) -> None:
    assert browser.driver.execute_script(ATTACKED) == ""
    assert browser.driver.execute_script(ELEMENTS) == 0


@pytest.fixture
def hostile_bundle(bundle: Bundle, tmp_path: Path) -> Bundle:
    copy = tmp_path / "bundle"
    shutil.copytree(bundle.path, copy)
    config = json.loads((copy / "config.json").read_text())
    config["class_names"] = list(NAMES)
    config["recipe"]["name"] = NAMES[1]
    (copy / "config.json").write_text(json.dumps(config))
    return Bundle(copy)


def test_in_the_page_and_its_json(hostile_bundle: Bundle) -> None:
    with served(hostile_bundle, "127.0.0.1") as address, httpx.Client(base_url=address, timeout=60) as client:
        page = client.get("/").text
        assert "\\u003cimg src=x" in page, "the names are in the JSON of the page"
        assert not [name for name in NAMES if name in page or json.dumps(name)[1:-1] in page]
        for path in ("/config", "/gradio_api/info"):  # a browser shows these as text only
            answer = client.get(path)
            assert NAMES[1] in json.dumps(answer.json(), ensure_ascii=False)
            assert answer.headers["content-type"].startswith("application/json")
            assert answer.headers["x-content-type-options"] == "nosniff"


def test_in_the_app(hostile_bundle: Bundle, browser: Page) -> None:
    with served(hostile_bundle, "127.0.0.1") as address:
        browser.open(address)
        browser.click(".fl-example")
        browser.until(lambda: NAMES[0] in browser.text("#answer"), "the first class is not shown as text")
        shown = browser.text("#answer")
        assert all(name in shown for name in NAMES)
        assert_inert(browser)
        for tab in ("Mistakes", "Model"):
            browser.until(lambda tab=tab: _opened(browser, tab), f"no tab {tab}")
            browser.until(lambda: any(name in browser.text() for name in NAMES), f"{tab} shows no class")
            assert_inert(browser)


def _opened(browser: Page, tab: str) -> bool:
    for button in browser.all("button[role=tab]"):
        if button.text == tab:
            button.click()
            return True
    return False


def test_in_the_report(browser: Page, tmp_path: Path) -> None:
    run = make_run(tmp_path)
    text = (tmp_path / "recipe.yaml").read_text()
    assert "name: made" in text
    Recipe.load(tmp_path / "recipe.yaml")
    (tmp_path / "recipe.yaml").write_text(text.replace("name: made", f"name: {json.dumps(NAMES[1])}", 1))
    with safe_open(run.weights_path, framework="pt") as weights:
        metadata = weights.metadata() | {"class_names": json.dumps(NAMES)}
        tensors = {name: weights.get_tensor(name) for name in weights.keys()}  # noqa: SIM118  # not a dictionary
    run.weights_path.write_bytes(safetensors_bytes(tensors, metadata))
    hostile = Run(tmp_path)
    browser.driver.get(write_report(hostile, tiny_split("test"), train=tiny_split("train")).as_uri())
    browser.wait_for("#cards, .cards")
    browser.until(lambda: NAMES[0] in browser.text(), "the first class is not shown as text")
    assert NAMES[1] in browser.text()
    assert_inert(browser)
