"""The HTML report in a browser: cells, filters, keyboard, address, phone width, hostile names, no requests."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from firstlight.reports.run_report import write_report
from firstlight.runs.run import Run
from reference.browser import Page
from reference.made_run import make_run
from reference.tiny import CLASS_NAMES, tiny_split

pytestmark = pytest.mark.slow
HOSTILE = ("<b>red</b>", '" onclick="document.title=1" x="', "</script>&amp;#=", "\u05d0\u05d1 " + "w" * 200)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return make_run(Path(tmp_path_factory.mktemp("run")))


@pytest.fixture
def page(browser: Page, run: Run) -> Page:
    show(browser, write_report(run, tiny_split("test"), train=tiny_split("train")))
    return browser


def show(browser: Page, path: Path, address: str = "") -> None:
    browser.driver.get("about:blank")
    browser.driver.get(path.as_uri() + address)
    browser.wait_for("#cards, .cards")


def cell_counts(run: Run) -> dict[tuple[int, int], int]:
    predictions = run.predictions
    pairs = list(zip(predictions.labels.tolist(), predictions.logits.argmax(dim=1).tolist(), strict=True))
    return {pair: pairs.count(pair) for pair in pairs}


def cell(page: Page, true: int, predicted: int):
    return page.wait_for(f".matrix tbody tr:nth-child({true + 1}) td:nth-child({predicted + 2}) a")


def address(page: Page) -> str:
    return page.driver.execute_script("return location.hash")


def test_a_cell_shows_its_images_and_the_address_keeps_it(page: Page, run: Run) -> None:
    (true, predicted), count = max(
        ((pair, count) for pair, count in cell_counts(run).items() if pair[0] != pair[1]), key=lambda item: item[1]
    )
    cell(page, true, predicted).click()
    page.until(lambda: len(page.all(".card")) == min(count, 24), "the cell's images do not appear")
    assert page.text("#count").startswith(f"{min(count, 24)} of {count} mistakes")
    assert address(page) == f"#true={CLASS_NAMES[true]}&predicted={CLASS_NAMES[predicted]}"
    assert len(page.all(".card:first-child .views figure")) == 4, "the image and three maps"
    assert page.all(".matrix td.chosen a")[0].text == str(count)
    assert page.driver.execute_script("return document.activeElement.id") == "images-title"
    page.driver.refresh()
    page.until(lambda: page.text("#count").startswith(f"{min(count, 24)} of {count} mistakes"), "the choice is lost")


def test_the_maps_are_drawn(page: Page) -> None:
    script = (
        "const c = document.querySelector('.card canvas'); if (!c || !c.width) return 0;"
        "return new Set(c.getContext('2d').getImageData(0, 0, c.width, c.height).data).size"
    )
    page.until(lambda: page.driver.execute_script(script) > 20, "the first map is blank")


def test_text_filter_order_and_the_more_button(page: Page, run: Run) -> None:
    num_mistakes = len(run.predictions.misclassified())
    page.until(lambda: page.text("#count") == f"24 of {num_mistakes} mistakes.", "the mistakes do not appear")
    page.click("#more")
    page.until(lambda: len(page.all(".card")) == min(48, num_mistakes), "no more images")
    index = int(run.predictions.misclassified()[3])
    page.wait_for("input[name=text]").send_keys(str(index))
    page.until(lambda: page.text("#count").startswith("1 of 1 mistake"), "the text filter finds nothing")
    assert f"test image {index}," in page.text(".card")
    page.click("#clear")
    page.until(lambda: page.text("#count") == f"24 of {num_mistakes} mistakes.", "the filter was not cleared")


def test_arrow_keys_move_between_cells_and_enter_selects(page: Page) -> None:
    from selenium.webdriver.common.keys import Keys

    first = page.all(".matrix td a")[0]
    assert [link.get_attribute("tabindex") for link in page.all(".matrix td a")].count("0") == 1
    first.send_keys(Keys.ARROW_RIGHT)
    focused = page.driver.switch_to.active_element
    assert focused.get_attribute("href") != first.get_attribute("href")
    focused.send_keys(Keys.ENTER)
    page.until(lambda: "predicted=" in address(page), "Enter does not choose the cell")


@pytest.mark.parametrize("width_px", [390, 1280])
def test_nothing_overflows_or_is_requested(page: Page, width_px: int) -> None:
    page.hosts()
    assert page.overflow_px(width_px) == 0
    assert page.hints(390) > page.hints(1280) == 0, "a hint for each table that is too wide"
    assert page.hosts() == set()
    assert page.complaints() == []


def test_the_nearest_training_images_are_drawn_below_each_mistake(page: Page) -> None:
    page.until(lambda: page.all(".card .nearest canvas"), "no training image")
    assert len(page.all(".card:first-child .nearest:first-of-type li")) == 5
    assert "distance" in str(page.all(".card .nearest canvas")[0].get_attribute("aria-label"))
    script = (
        "const c = document.querySelector('.nearest canvas');"
        "return new Set(c.getContext('2d').getImageData(0, 0, c.width, c.height).data).size"
    )
    page.until(lambda: page.driver.execute_script(script) > 20, "the first training image is blank")


def test_the_map_of_the_features_is_explored_with_the_keyboard(page: Page, run: Run) -> None:
    from selenium.webdriver.common.keys import Keys

    canvas = page.wait_for("#points")
    page.driver.execute_script("arguments[0].scrollIntoView({block: 'center'}); arguments[0].focus()", canvas)
    page.until(lambda: page.text("#point").startswith("test image"), "focus shows no image")
    first = page.text("#point")
    for key in (Keys.ARROW_RIGHT, Keys.ARROW_DOWN, Keys.ARROW_LEFT, Keys.ARROW_UP):
        canvas.send_keys(key)
    assert page.text("#point") != first
    index = int(page.text("#point").split()[2].rstrip(":"))
    label = CLASS_NAMES[int(run.predictions.labels[index])]
    assert f"true {label}" in page.text("#point")
    page.driver.execute_script("document.querySelector('#points-controls select').value = 'mistake'")
    page.driver.execute_script("document.querySelector('#points-controls').dispatchEvent(new Event('change'))")
    assert page.text("#points-legend").split() == ["mistake", "correct"]
    if page.all("#point a"):
        canvas.send_keys(Keys.ENTER)
        page.until(lambda: f"text={index}" in address(page), "Enter does not open the image")


def test_a_point_shows_its_image_under_the_pointer(page: Page) -> None:
    script = """
    const canvas = document.getElementById('points'), data = JSON.parse(document.getElementById('data').textContent);
    const scale = (canvas.clientWidth - 24) / 1000, p = data.feature_map.points, n = arguments[0];
    const box = canvas.getBoundingClientRect();
    const at = {clientX: box.left + 1 + 12 + p.x[n] * scale, clientY: box.top + 1 + 12 + p.y[n] * scale, bubbles: true};
    canvas.dispatchEvent(new PointerEvent('pointermove', at));
    return [p.index[n], document.getElementById('point').textContent];
    """
    page.driver.execute_script("document.getElementById('points').scrollIntoView({block: 'center'})")
    shown = [page.driver.execute_script(script, point) for point in (3, 40)]
    assert all(text.startswith(f"test image {index}:") for index, text in shown)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(page: Page, scheme: str) -> None:
    page.prefer(scheme)
    page.until(lambda: page.all(".card"), "no card appears")
    violations = page.serious_violations()
    page.prefer(None)
    assert violations == []


def test_without_javascript_and_printed_the_page_keeps_its_findings(browser: Page, run: Run) -> None:
    path = write_report(run, tiny_split("test"), train=tiny_split("train"))
    browser.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        show(browser, path)
        assert "Without JavaScript" in browser.text("noscript")
        assert len(browser.all("noscript .nearest img")) == 5 * min(24, len(run.predictions.misclassified()))
    finally:
        browser.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
    show(browser, path)
    printed = browser.driver.execute_cdp_cmd("Page.printToPDF", {"printBackground": True})["data"]
    assert len(printed) > 50_000


def test_hostile_names_stay_text(browser: Page, tmp_path: Path) -> None:
    run, images = make_run(tmp_path), tiny_split("test")
    files = tuple(f"{HOSTILE[row % 4]}/{row}.png" for row in range(len(images)))
    images = replace(images, class_names=HOSTILE, file_names=files)
    run.save_weights(run.network, images)
    train = replace(tiny_split("train"), class_names=HOSTILE, file_names=tuple(f"{HOSTILE[0]}{i}" for i in range(192)))
    show(browser, write_report(Run(tmp_path), images, train=train))
    browser.until(lambda: browser.all(".card"), "no card appears")
    browser.driver.execute_script("document.querySelectorAll('bdi, .name, th').forEach((e) => e.click())")
    assert browser.driver.title == "made on tiny test"
    assert not browser.all("main b")
    assert [each.get_attribute("textContent") for each in browser.all(".matrix tbody th .name")] == list(HOSTILE)
    shown = {each.get_attribute("textContent") for each in browser.all(".card .numbers bdi")}
    assert shown
    assert shown <= set(files)
    assert browser.overflow_px(390) == 0
    assert browser.complaints() == []
    browser.all(".matrix td a")[0].click()
    browser.until(lambda: "true=" in address(browser), "a cell of hostile names cannot be chosen")
    assert browser.all(".matrix td.chosen")
