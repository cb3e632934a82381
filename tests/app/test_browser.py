"""The page in a browser: what a user sees and does on each tab."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from firstlight.app.markup import picture_html
from firstlight.app.service import MapOptions, Service
from firstlight.app.upload_limits import MAX_BYTES, read_upload
from firstlight.export.bundle import Bundle
from firstlight.plots.overlay import overlay
from reference.browser import Page
from reference.hostile import BAD, GOOD
from reference.tiny import CLASS_NAMES

pytestmark = pytest.mark.slow


@pytest.fixture
def page(browser: Page, address: str) -> Page:
    """The page of a new visitor."""
    browser.open(address)
    return browser


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.jpg"
    path.write_bytes(GOOD["photo.jpg"]())
    return path


def bars(page: Page) -> list[str]:
    return [each.text for each in page.all("#answer .fl-name")]


def test_an_upload_shows_bars_the_preprocessed_picture_and_a_map(page: Page, photo: Path, bundle: Bundle) -> None:
    assert "Nothing to explain yet" in page.text("#answer")
    page.upload(photo)
    page.wait_for("#answer .fl-map")
    expected = Service(bundle).predict(read_upload(photo.read_bytes(), "photo.jpg", (16, 16)).pixels)
    assert bars(page) == [name for name, _ in expected.prediction.top(4)]
    assert page.text("#answer h2").startswith(expected.prediction.label)
    assert "16 \N{MULTIPLICATION SIGN} 16 pixels" in page.text("#answer")
    page.until(lambda: page.sources("#picture img")[:1], "no preview")
    assert page.sources("#picture img")[0].startswith("data:"), "the preview holds all of itself"


def test_stage_method_class_and_number_of_bars_change_the_result(page: Page, photo: Path, bundle: Bundle) -> None:
    page.upload(photo)
    page.wait_for("#answer .fl-map")
    answer = Service(bundle).predict(read_upload(photo.read_bytes(), "photo.jpg", (16, 16)).pixels)
    second = answer.prediction.top(2)[1][0]
    changes = [
        ("classify-stage", "layer1", "stage layer1"),
        ("classify-method", "LayerCAM", "stage layer1"),
        ("explained", second, f"Evidence for {second}"),
    ]
    for dropdown, option, says in changes:
        last = page.sources("#answer .fl-map")
        page.choose(dropdown, option)
        page.until(partial(_has_changed, page, last), f"{option} changes nothing")
        page.until(partial(_says, page, says), f"the page does not say {says}")
    page.slide("top", 2)
    page.until(lambda: len(bars(page)) == 2, "two bars")


def _has_changed(page: Page, last: list[str]) -> bool:
    return bool(page.all("#answer .fl-stack")) and page.sources("#answer .fl-map") != last


def _says(page: Page, text: str) -> bool:
    return text in page.text("#answer")


def test_the_map_can_be_turned_off_and_on(page: Page, photo: Path) -> None:
    page.upload(photo)
    page.wait_for("#answer .fl-map")
    page.click("#classify-map input")
    page.until(lambda: not page.all("#answer .fl-map") and page.all("#answer .fl-pixels"), "the map stays")
    page.click("#classify-map input")
    page.wait_for("#answer .fl-map")


def test_opacity_blends_on_the_screen_as_the_overlay_does(page: Page, photo: Path, bundle: Bundle) -> None:
    page.upload(photo)
    page.wait_for("#answer .fl-map")
    answer = Service(bundle).predict(read_upload(photo.read_bytes(), "photo.jpg", (16, 16)).pixels)
    assert answer.evidence is not None
    shown = {}
    for opacity in (0.0, 0.3, 1.0):
        page.slide("classify-opacity", opacity)
        page.until(partial(_is_blended, page, opacity), "the opacity does not arrive")
        screen = page.pixels("#answer figure:last-child .fl-stack")
        expected = overlay(answer.pixels, answer.evidence, opacity).astype(float)
        height, width = screen.shape[:2]
        rows = ((np.arange(16) + 0.5) * height / 16).astype(int)
        columns = ((np.arange(16) + 0.5) * width / 16).astype(int)
        shown[opacity] = screen[rows][:, columns]
        inside = (slice(2, -2), slice(2, -2))  # rounded corners are left out
        assert np.abs(shown[opacity][inside] - expected[inside]).max() <= 3, "crisp squares, the overlay's colours"
    assert np.abs(shown[0.0] - shown[1.0]).mean() > 10


def _is_blended(page: Page, opacity: float) -> bool:
    return bool(page.wait_for("#answer .fl-map").value_of_css_property("opacity") == f"{opacity:g}")


def test_every_example_is_classified_and_clear_empties_the_page(page: Page, bundle: Bundle) -> None:
    service = Service(bundle)
    for place in range(4):
        answer = service.predict(bundle.examples.images[place], MapOptions(None))
        page.click(".fl-example", place)
        seen = picture_html(answer.pixels, "").partition('src="')[2].partition('"')[0]
        page.until(partial(_shows, page, seen), f"example {place} is not shown")
        assert page.text("#answer h2").startswith(answer.prediction.label)
    page.click("#clear")
    page.until(lambda: "Nothing to explain yet" in page.text("#answer"), "clear does not clear")
    page.until(lambda: page.all("#picture input[type=file]"), "no place for a new picture")


def _shows(page: Page, source: str) -> bool:
    return page.sources("#answer .fl-stack img")[:1] == [source]


@pytest.mark.parametrize("name", ["text.png", "cut.jpg", "small bomb.png", "empty.png"])
def test_a_bad_file_is_a_line_on_the_page_and_never_a_traceback(page: Page, tmp_path: Path, name: str) -> None:
    make, says = BAD[name]
    (tmp_path / name).write_bytes(make())
    page.upload(tmp_path / name)
    page.until(lambda: re.search(says, page.text("#answer")), f"nothing is said of {name}")
    assert "Traceback" not in page.text()
    page.until(lambda: page.all("#picture input[type=file]"), "the bad file stays in the place for the picture")


def test_a_file_that_is_too_large_is_a_line_on_the_page(page: Page, tmp_path: Path) -> None:
    path = tmp_path / "large.png"
    path.write_bytes(GOOD["rgb.png"]() + bytes(MAX_BYTES))
    page.upload(path)
    page.until(lambda: re.search(r"(?i)(exceeds|larger than|too large|maximum)", page.text()), "nothing is said")


def test_after_a_bad_file_a_good_one_is_classified(page: Page, tmp_path: Path, photo: Path) -> None:
    (tmp_path / "text.png").write_bytes(b"text")
    page.upload(tmp_path / "text.png")
    page.until(lambda: "can be read here" in page.text("#answer"), "nothing is said")
    page.upload(photo)
    page.wait_for("#answer .fl-map")


def test_a_snapshot_of_the_webcam_is_classified(page: Page) -> None:
    """Chromium's own moving test picture stands in for the camera."""
    page.click("#picture .source-selection button:nth-of-type(2)")
    page.click("#picture .access-wrap, #picture [title='grant webcam access']")
    page.wait_for("#picture video")
    page.until(partial(_has_taken, page), "no picture is taken")
    page.wait_for("#answer .fl-bars")


def _has_taken(page: Page) -> bool:
    for button in page.all("#picture .button-wrap button")[:1]:
        button.click()
    time.sleep(1)
    return bool(page.all("#answer .fl-bars"))


def test_mistakes_are_filtered_counted_and_explained(page: Page, bundle: Bundle) -> None:
    page.tab("Mistakes")
    service = Service(bundle)
    everything = service.mistakes()
    page.until(lambda: f"{everything.num_wrong} of 83 test images are misclassified" in page.text("#wrong"), "no count")
    assert len(page.all("#wrong .fl-mistake")) == 12
    some = everything.items[0]
    page.choose("true", some.true_name)
    page.choose("said", some.predicted_name)
    wanted = service.mistakes(some.true_name, some.predicted_name)
    page.until(lambda: f"{wanted.num_found} of {everything.num_wrong} mistakes" in page.text("#wrong"), "no new count")
    assert len(page.all("#wrong .fl-mistake")) == min(wanted.num_found, 12)
    captions = page.text("#wrong")
    assert captions.count(f"says {some.predicted_name}") == captions.count(f"is {some.true_name}") == len(wanted.items)
    before = page.sources("#wrong .fl-map")
    page.choose("mistakes-stage", "layer1")
    page.until(lambda: page.sources("#wrong .fl-map") != before, "the stage changes nothing")
    page.click("#mistakes-map input")
    page.until(lambda: not page.all("#wrong .fl-map"), "the map stays")
    assert len(page.all("#wrong .fl-pixels")) == len(wanted.items)


def test_the_pager_goes_through_all_mistakes(page: Page, bundle: Bundle) -> None:
    page.tab("Mistakes")
    num_pages = Service(bundle).mistakes().num_pages
    for number in range(2, num_pages + 1):
        page.click("#next")
        page.until(partial(_is_on, page, f"Page {number} of {num_pages}"), f"no page {number}")
    page.until(lambda: not page.wait_for("#next").is_enabled(), "there is no next page")
    page.click("#back")
    page.until(lambda: f"Page {num_pages - 1} of" in page.text("#wrong"), "there is no way back")


def _is_on(page: Page, text: str) -> bool:
    return text in page.text("#wrong")


def test_the_opacity_of_one_tab_does_not_change_the_other(page: Page, photo: Path) -> None:
    page.upload(photo)
    page.wait_for("#answer .fl-map")
    page.tab("Mistakes")
    page.slide("mistakes-opacity", 0.1)
    page.until(lambda: page.wait_for("#wrong .fl-map").value_of_css_property("opacity") == "0.1", "no blending")
    page.tab("Classify")
    assert page.wait_for("#answer .fl-map").value_of_css_property("opacity") == "0.6"


def test_the_model_tab_shows_its_numbers(page: Page, bundle: Bundle) -> None:
    page.tab("Model")
    test = bundle.measured["test"]
    page.until(lambda: f"{test['single_view']:.2%}" in page.text(), "no accuracy")
    text = page.text()
    assert f"{test['averaged']:.2%}" in text
    assert all(name in text for name in CLASS_NAMES)
    drawing = page.wait_for(".fl-diagram img")
    assert int(page.driver.execute_script("return arguments[0].naturalWidth", drawing)) > 300


def test_the_page_requests_no_other_host_and_has_no_errors(page: Page, photo: Path, address: str) -> None:
    page.complaints()  # clear the errors of earlier tests, whose uploads were refused
    page.open(address)
    page.upload(photo)
    page.wait_for("#answer .fl-map")
    for name in ("Mistakes", "Model", "Classify"):
        page.tab(name)
    assert page.hosts() == {address.removeprefix("http://")}
    known = "upload_progress?upload_id= "  # Gradio requests the progress of an upload before it has started
    assert [each for each in page.complaints() if known not in each] == []


@pytest.mark.parametrize("width_px", [1280, 390])
def test_no_tab_is_wider_than_the_window(page: Page, photo: Path, width_px: int) -> None:
    page.upload(photo)
    page.wait_for("#answer .fl-map")
    for name in ("Classify", "Mistakes", "Model"):
        page.tab(name)
        assert page.overflow_px(width_px) <= 0, name


@pytest.fixture
def phone(browser: Page, address: str) -> Iterator[Page]:
    """The page in a window of a phone's size."""
    metrics = {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}
    browser.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    browser.open(address)
    yield browser
    browser.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def _is_in_view(page: Page, selector: str) -> bool:
    script = "const b = arguments[0].getBoundingClientRect(); return b.top >= -1 && b.top < window.innerHeight * 0.6"
    return bool(page.driver.execute_script(script, page.wait_for(selector)))


def test_on_a_phone_results_scroll_into_view(phone: Page) -> None:
    phone.click(".fl-example", 2)
    phone.wait_for("#answer .fl-map")
    phone.until(lambda: _is_in_view(phone, "#answer h2"), "the answer is out of view")
    phone.tab("Mistakes")
    phone.click("#next")
    phone.until(lambda: "Page 2 of" in phone.text("#wrong"), "no second page")
    phone.until(lambda: _is_in_view(phone, "#wrong .fl-count"), "the page stays at its end")


def test_on_a_phone_dropdowns_fit_and_wide_tables_have_a_hint(phone: Page) -> None:
    script = """
    const box = document.querySelector('#classify-stage .wrap-inner');
    const input = box.querySelector('input'), arrow = box.querySelector('.icon-wrap').getBoundingClientRect();
    const end = input.getBoundingClientRect().right - parseFloat(getComputedStyle(input).paddingRight);
    return [end, arrow.left, getComputedStyle(input).textOverflow];
    """
    phone.click(".fl-example", 0)
    end_px, arrow_px, overflow = phone.driver.execute_script(script)
    assert end_px <= arrow_px + 1
    assert overflow == "ellipsis"
    phone.tab("Model")
    phone.until(lambda: phone.all(".fl-overflows .fl-hint"), "no hint that the layer table scrolls")
    for box in phone.all(".fl-wide"):
        inner = box.find_element("css selector", ".fl-scroll")
        scrolls = phone.driver.execute_script("return arguments[0].scrollWidth > arguments[0].clientWidth + 1", inner)
        assert box.find_element("css selector", ".fl-hint").is_displayed() == scrolls


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_no_serious_problem(browser: Page, address: str, photo: Path, theme: str) -> None:
    """Contrast, names of images and controls, and roles, checked by axe-core on each tab."""
    browser.open(f"{address}?__theme={theme}")
    browser.upload(photo)
    browser.wait_for("#answer .fl-map")
    for name in ("Classify", "Mistakes", "Model"):
        browser.tab(name)
        time.sleep(1)  # colours fade in
        assert browser.serious_violations() == [], name
