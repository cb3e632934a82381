"""The page of a comparison in a browser: width of a phone, both colour schemes, hostile names, no requests."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace

import pytest
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from firstlight.reports.comparison_page import write_comparison
from firstlight.reports.run_comparison import compare_runs
from firstlight.runs.run import Run
from reference.browser import Page, chromium
from reference.made_runs import make_runs
from reference.tiny import tiny_split

pytestmark = pytest.mark.slow
HOSTILE = ("<b>red</b>", '" onclick="document.title=1" x="', "</script>&amp;#=", "\u05d0\u05d1 " + "w" * 200)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    folder = tmp_path_factory.mktemp("runs")
    made = make_runs(folder / "runs", [range(3), range(2, 23), range(3, 26)], seeds=(0, 0, 1), epochs=(2, 1, 1))
    for run in made:
        with safe_open(run.weights_path, "pt") as weights:
            metadata = dict(weights.metadata()) | {"class_names": json.dumps(HOSTILE)}
        save_file(load_file(run.weights_path), run.weights_path, metadata)
    images = replace(tiny_split("test"), class_names=HOSTILE)
    path = write_comparison(compare_runs([Run(run.path) for run in made]), images, folder / "page.html")
    with chromium() as browser:
        browser.hosts()
        browser.driver.get(path.as_uri())
        browser.wait_for(".card")
        yield browser


def test_names_are_text_and_every_image_is_drawn(page: Page) -> None:
    assert set(HOSTILE) >= {name.text for name in page.all(".card .verdict bdi") if name.text} - {""}
    assert not page.all("main b, main script, [onclick]")
    broken = "return [...document.images].filter(image => !image.complete || !image.naturalWidth).length"
    assert page.driver.execute_script(broken) == 0
    assert page.hosts() == set()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_is_accessible_and_as_wide_as_the_screen(page: Page, scheme: str) -> None:
    page.prefer(scheme)
    for width_px in (390, 1280):
        assert page.overflow_px(width_px) <= 0
    assert page.hints(390) > page.hints(1280) == 0, "a hint for each table that is too wide"
    assert page.serious_violations() == []
