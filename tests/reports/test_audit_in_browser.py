"""The page of an audit in a browser: decisions, the width of a phone, both colour schemes, no requests."""

from __future__ import annotations

import csv
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from firstlight.data.decisions import Decisions
from firstlight.reports.audit import without_decided
from firstlight.reports.audit_page import render_audit
from reference.browser import Page, chromium
from reports.test_audit_page import made

pytestmark = pytest.mark.slow
HOSTILE = ("<b>red</b>", '" onclick="document.title=1" x="', "</script>&amp;#=, x", "\u05d0\u05d1 " + "w" * 200)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("audit")


@pytest.fixture(scope="module")
def page(folder: Path) -> Iterator[Page]:
    path = folder / "audit.html"
    path.write_text(render_audit(made(HOSTILE)), encoding="utf-8")
    with chromium() as browser:
        browser.hosts()
        parameters = {"behavior": "allow", "downloadPath": str(folder)}
        browser.driver.execute_cdp_cmd("Page.setDownloadBehavior", parameters)
        browser.driver.get(path.as_uri())
        browser.wait_for(".card select option")
        yield browser


def test_names_are_text_and_every_image_is_drawn(page: Page) -> None:
    assert not page.all("main b, main script, [onclick]")
    broken = "return [...document.images].filter(image => !image.complete || !image.naturalWidth).length"
    assert page.driver.execute_script(broken) == 0
    assert page.hosts() == set()
    assert page.complaints() == []


def test_decisions_made_with_the_keyboard_are_downloaded(page: Page, folder: Path) -> None:
    from selenium.webdriver.support.ui import Select

    selects = page.all(".suspect select")
    first, split, index = selects[0], selects[0].get_attribute("data-split"), selects[0].get_attribute("data-id")
    likely = HOSTILE[int(first.get_attribute("data-likely"))]
    first.send_keys("r")  # the first option that begins so: the likely class
    assert Select(first).first_selected_option.get_attribute("value") == f"relabel:{likely}"
    Select(selects[1]).select_by_value("drop")
    page.until(lambda: page.text("#decided") == "2 decided", "decisions are not counted")
    page.click("#save")
    path = folder / "decisions.csv"
    page.until(path.is_file, "no file was downloaded")
    time.sleep(0.2)
    rows = list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))
    assert [row["decision"] for row in rows] == [f"relabel:{likely}", "drop"]
    assert (rows[0]["split"], rows[0]["id"]) == (split, index)
    assert rows[0]["file"] == f"{HOSTILE[0]}/{index}.png"


def test_earlier_decisions_are_downloaded_again(browser: Page, tmp_path: Path) -> None:
    """A decision by hand may name only the file or only the id, of images that the page shows or not."""
    found = made(HOSTILE)
    files, ids = found.splits["train"].file_names, found.splits["train"].ids.tolist()
    assert files is not None
    lines = [f"train,,{files[row]},drop" for row in (40, 41)] + [f"train,{ids[42]},,keep", "test,3,,keep"]
    decided = without_decided(found, Decisions("\n".join(["split,id,file,decision", *lines])))
    path = tmp_path / "audit.html"
    path.write_text(render_audit(decided), encoding="utf-8")
    parameters = {"behavior": "allow", "downloadPath": str(tmp_path)}
    browser.driver.execute_cdp_cmd("Page.setDownloadBehavior", parameters)
    browser.driver.get(path.as_uri())
    browser.until(lambda: browser.text("#decided") == "4 decided", "earlier decisions are not counted")
    browser.click("#save")
    browser.until((tmp_path / "decisions.csv").is_file, "no file was downloaded")
    time.sleep(0.2)
    rows = list(csv.DictReader((tmp_path / "decisions.csv").read_text(encoding="utf-8").splitlines()))
    assert [row["decision"] for row in rows] == ["drop", "drop", "keep", "keep"]
    assert [row["file"] for row in rows] == [files[40], files[41], files[42], ""]
    assert rows[3]["id"] == "3"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_is_accessible_and_as_wide_as_the_screen(page: Page, scheme: str) -> None:
    page.prefer(scheme)
    for width_px in (390, 1280):
        assert page.overflow_px(width_px) <= 0
    assert page.hints(390) > page.hints(1280) == 0, "a hint for each table that is too wide"
    assert page.serious_violations() == []
