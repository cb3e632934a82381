"""The browser demo in Chromium: what a visitor sees and does, also offline, on a phone and in the dark."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from firstlight.app.service import MapOptions, Service
from firstlight.app.upload_limits import read_upload
from firstlight.export.bundle import Bundle
from firstlight.plots.mistake_sheet import percent
from firstlight.plots.overlay import overlay
from reference.browser import Page, chromium
from reference.hostile import GOOD, HTML, bomb
from reference.static_server import static_server

pytestmark = pytest.mark.slow

CANVAS = "const c = arguments[0]; return [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data]"
PHONE = {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}
MAP = "#answer .fl-map"


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    path.write_bytes(GOOD["rgb.png"]())
    return path


@pytest.fixture(scope="module")
def service(bundle: Bundle) -> Service:
    return Service(bundle)


def canvas(page: Page, selector: str, index: int = 0) -> np.ndarray:
    """The pixels of a canvas, uint8 [h w 3]."""
    element = page.all(selector)[index]
    size = int(element.get_attribute("height")), int(element.get_attribute("width"))
    return np.array(page.driver.execute_script(CANVAS, element), np.uint8).reshape(*size, 4)[:, :, :3]


def is_shown(page: Page, selector: str, expected: np.ndarray) -> bool:
    return bool(np.abs(canvas(page, selector) - expected).max() <= 4)


def select(page: Page, control: str, text: str) -> None:
    from selenium.webdriver.support.ui import Select

    Select(page.wait_for(f"#{control} select")).select_by_visible_text(text)


def expected_map(service: Service, path: Path, opacity: float, options: MapOptions, explained: str) -> np.ndarray:
    answer = service.predict(read_upload(path.read_bytes(), path.name, service.size_px).pixels, options, explained)
    assert answer.evidence is not None
    return overlay(answer.pixels, answer.evidence, opacity)


def test_an_upload_shows_what_the_app_shows(page: Page, photo: Path, service: Service) -> None:
    assert "Nothing to explain yet" in page.text("#answer")
    assert "never leave your browser" in page.text("#picture")
    page.upload(photo)
    page.wait_for(MAP)
    answer = service.predict(read_upload(photo.read_bytes(), photo.name, service.size_px).pixels)
    assert [each.text for each in page.all("#answer .fl-name")] == [name for name, _ in answer.prediction.top(4)]
    assert page.text("#answer h2") == f"{answer.prediction.label} {percent(answer.prediction.probability)}"
    assert bool(page.all("#answer .fl-warning")) == answer.is_novel
    np.testing.assert_array_equal(canvas(page, "#answer .fl-figures canvas"), answer.pixels.transpose(1, 2, 0))


def test_maps_have_the_colours_of_the_overlay(page: Page, photo: Path, service: Service) -> None:
    page.upload(photo)
    page.wait_for(MAP)
    other = service.class_names[2]
    steps = [
        (lambda: None, MapOptions(), "predicted", 0.6),
        (lambda: select(page, "classify-stage", "layer1"), MapOptions("grad_cam", "layer1"), "predicted", 0.6),
        (lambda: select(page, "classify-method", "LayerCAM"), MapOptions("layer_cam", "layer1"), "predicted", 0.6),
        (lambda: select(page, "explained", other), MapOptions("layer_cam", "layer1"), other, 0.6),
        (lambda: page.slide("classify-opacity", 1), MapOptions("layer_cam", "layer1"), other, 1.0),
        (lambda: select(page, "classify-stage", "all, fused"), MapOptions("layer_cam", "all"), other, 1.0),
        (lambda: select(page, "classify-method", "Grad-CAM++"), MapOptions("grad_cam_pp", "all"), other, 1.0),
        (lambda: select(page, "classify-method", "Eigen-CAM"), MapOptions("eigen_cam", "all"), other, 1.0),
    ]
    for act, options, explained, opacity in steps:
        act()
        expected = expected_map(service, photo, opacity, options, explained).astype(int)
        page.until(partial(is_shown, page, f"{MAP} canvas", expected), f"not the map of {options} {explained}")
    assert f"Evidence for {other}" in page.text("#answer")


def test_the_map_can_be_turned_off_and_fewer_classes_listed(page: Page, photo: Path) -> None:
    page.upload(photo)
    page.wait_for(MAP)
    page.click("#classify-map input")
    page.until(lambda: not page.all(MAP), "the map stays")
    page.slide("top", 2)
    page.until(lambda: len(page.all("#answer .fl-name")) == 2, "not two bars")
    page.click("#classify-map input")
    page.wait_for(MAP)
    assert len(page.all("#answer .fl-name")) == 2


def test_several_pictures_good_and_bad_at_once(page: Page, tmp_path: Path) -> None:
    files = {name: GOOD[name]() for name in ("photo.jpg", "animated.gif", "long.png", "modern.webp")}
    files |= {"empty.png": b"", "page.jpg": HTML, "bomb.png": bomb(20_000, 20_000)}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    page.wait_for("#picture input[type=file]").send_keys("\n".join(str(tmp_path / name) for name in files))
    page.until(lambda: len(page.all(MAP)) == 4 and len(page.all("#answer .fl-refused")) == 3, "not seven answers")
    refusals = page.text("#answer .fl-refused")
    assert "empty.png is empty" in refusals
    assert "page.jpg is not a picture that can be read here" in refusals
    assert "20000x20000 is more than 50 million pixels" in refusals
    assert "first frame" in page.text("#answer")
    assert "Only the centre" in page.text("#answer")
    page.click("#answer .fl-remove")
    page.until(lambda: len(page.all("#answer .fl-answer")) == 6, "no picture was removed")
    page.click("#clear")
    page.until(lambda: "Nothing to explain yet" in page.text("#answer"), "clear does not clear")


def test_every_example_gets_the_answer_of_the_app(page: Page, bundle: Bundle, service: Service) -> None:
    for index in range(4):
        answer = service.predict(bundle.examples.images[index], MapOptions(None))
        page.click(".fl-example", index)
        page.until(lambda: len(page.all("#answer .fl-figures")) == index + 1, f"no answer to example {index}")  # noqa: B023
        assert page.all("#answer h2")[0].text.startswith(answer.prediction.label)
        np.testing.assert_array_equal(canvas(page, "#answer .fl-figures canvas"), answer.pixels.transpose(1, 2, 0))


def test_pictures_can_be_dropped_and_pasted(page: Page) -> None:
    script = """
    const [kind, target] = arguments, canvas = new OffscreenCanvas(40, 40);
    canvas.getContext("2d").fillRect(0, 0, 20, 40);
    canvas.convertToBlob({ type: "image/png" }).then((blob) => {
      const data = new DataTransfer();
      data.items.add(new File([blob], `${kind}.png`, { type: "image/png" }));
      const options = { bubbles: true, cancelable: true };
      document.body.dispatchEvent(kind === "drop"
        ? new DragEvent("drop", { ...options, dataTransfer: data })
        : new ClipboardEvent("paste", { ...options, clipboardData: data }));
    });
    """
    for number, kind in enumerate(("drop", "paste"), start=1):
        page.driver.execute_script(script, kind)
        page.until(lambda: len(page.all(MAP)) == number, f"{kind} does nothing")  # noqa: B023
        assert f"{kind}.png" in page.text("#answer")


def test_the_webcam_gives_a_picture(page: Page) -> None:
    """Chromium's own moving test picture stands in for the camera."""
    page.click("#camera")
    page.until(lambda: page.driver.execute_script("return document.querySelector('video').videoWidth"), "no video")
    page.click("#take")
    page.wait_for(MAP)
    assert "webcam.png" in page.text("#answer")


def test_mistakes_are_filtered_and_explained(page: Page, bundle: Bundle, service: Service) -> None:
    page.tab("Mistakes")
    everything = service.mistakes()
    page.until(lambda: f"{everything.num_wrong} of 83 test images are misclassified" in page.text("#wrong"), "no count")
    page.until(lambda: len(page.all("#wrong .fl-map")) == 24, "no maps")
    some = everything.items[0]
    np.testing.assert_array_equal(canvas(page, "#wrong canvas"), some.pixels.transpose(1, 2, 0))
    for index, evidence in enumerate(some.upsampled()):
        expected = overlay(some.pixels, evidence).astype(int)
        assert np.abs(canvas(page, "#wrong .fl-map canvas", index) - expected).max() <= 4
    select(page, "true", some.true_name)
    select(page, "said", some.predicted_name)
    wanted = service.mistakes(some.true_name, some.predicted_name)
    page.until(lambda: f"{wanted.num_found} of {everything.num_wrong} mistakes" in page.text("#wrong"), "no new count")
    text = page.text("#wrong")
    assert text.count(f"says {some.predicted_name}") == text.count(f"is {some.true_name}") == len(wanted.items)
    assert percent(some.mistake.predicted_probability) in text
    page.click("#mistakes-map input")
    page.until(lambda: not page.all("#wrong .fl-map"), "the maps stay")
    assert len(page.all("#wrong canvas")) == len(wanted.items)


def test_the_pager_goes_through_all_mistakes(page: Page, service: Service) -> None:
    page.tab("Mistakes")
    num_pages = service.mistakes().num_pages
    for number in range(2, num_pages + 1):
        page.click("#next")
        page.until(lambda: f"Page {number} of {num_pages}" in page.text("#wrong"), f"no page {number}")  # noqa: B023
    assert not page.wait_for("#next").is_enabled()


def test_the_model_tab_shows_its_numbers(page: Page, bundle: Bundle) -> None:
    page.tab("Model")
    test = bundle.measured["test"]
    page.until(lambda: f"{test['single_view']:.2%}" in page.text(), "no accuracy")
    assert all(name in page.text(".fl-confusion") for name in bundle.class_names)
    drawing = page.wait_for(".fl-diagram img")
    page.until(lambda: page.driver.execute_script("return arguments[0].naturalWidth", drawing) > 300, "no drawing")


def test_the_keyboard_reaches_tabs_examples_and_controls(page: Page) -> None:
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    def press(*keys: str) -> None:
        ActionChains(page.driver).send_keys(*keys).perform()

    page.wait_for("button[role=tab]").send_keys(Keys.ARROW_RIGHT)
    page.until(lambda: page.all("#panel-1")[0].is_displayed(), "the arrow key does not change the tab")
    press(Keys.ARROW_LEFT)
    press(Keys.TAB, Keys.TAB)
    assert page.driver.execute_script("return document.activeElement.id") == "camera"
    press(Keys.TAB, Keys.ENTER)
    page.wait_for(MAP)


def test_the_page_loads_nothing_from_elsewhere_and_works_offline(site: Path, tmp_path: Path, photo: Path) -> None:
    """A visitor comes twice, the second time while the host is down."""
    shutil.copytree(site, tmp_path / "sub" / "path")
    with chromium() as visitor:
        with static_server(tmp_path) as address:
            visitor.open(f"{address}/sub/path/")
            visitor.until(lambda: "works offline" in visitor.text("#cached"), "the page is not stored")
            visitor.upload(photo)
            visitor.wait_for(MAP)
            assert visitor.hosts() == {address.removeprefix("http://")}
            assert visitor.complaints() == []
        visitor.open(f"{address}/sub/path/")
        visitor.until(lambda: not visitor.all("#startup"), "the model does not load offline")
        visitor.upload(photo)
        visitor.wait_for(MAP)
        visitor.tab("Mistakes")
        visitor.until(lambda: visitor.all("#wrong .fl-map"), "no mistakes offline")


def test_each_large_file_is_downloaded_once(site: Path, tmp_path: Path) -> None:
    shutil.copytree(site, tmp_path / "demo")
    requested: list[str] = []
    with chromium() as visitor, static_server(tmp_path, requested) as address:
        visitor.open(f"{address}/demo/")
        visitor.until(lambda: "works offline" in visitor.text("#cached"), "the page is not stored")
    for name in ("model.onnx", "runtime/ort-wasm-simd-threaded.wasm.gz"):
        assert requested.count(f"/demo/{name}") == 1, name


def test_a_newer_export_is_offered_and_loaded(site: Path, bundle: Bundle, tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    shutil.copytree(site, folder)
    with chromium() as visitor, static_server(tmp_path) as address:
        visitor.open(f"{address}/demo/")
        visitor.until(lambda: "works offline" in visitor.text("#cached"), "the page is not stored")
        for name in ("model.json", "files.json", "sw.js"):
            path = folder / name
            version = json.loads((site / "files.json").read_text())["version"]
            path.write_text(path.read_text().replace(version, "0" * 16).replace("see the evidence", "SEE THE EVIDENCE"))
        visitor.open(f"{address}/demo/")
        visitor.until(lambda: visitor.all("#cached button"), "the newer version is not offered")
        assert "SEE THE EVIDENCE" not in visitor.text(".fl-header")
        visitor.click("#cached button")
        visitor.until(lambda: "SEE THE EVIDENCE" in visitor.text(".fl-header"), "the newer version is not loaded")


@pytest.fixture
def hostile_names(site: Path, tmp_path: Path) -> Iterator[str]:
    """The page of a model whose classes and files have markup as their names."""
    folder = shutil.copytree(site, tmp_path / "demo")
    attack = "<img src=x onerror=\"document.title='attacked'\"><script>document.title='attacked'</script>"
    for name in ("model.json", "mistakes.json"):
        content = json.loads((folder / name).read_text())
        content["title"] = content["about"] = attack
        if name == "model.json":
            content["class_names"] = [f"{attack}{number}" for number in range(4)]
            content["stages"] = [each | {"label": attack, "name": attack} for each in content["stages"]]
            content["layers"]["rows"] = [[attack] * 7]
        for item in content.get("items", []):
            item["name"] = attack
        (folder / name).write_text(json.dumps(content))
    with static_server(tmp_path) as address:
        yield f"{address}/demo/"


def test_names_with_markup_stay_text(browser: Page, hostile_names: str, tmp_path: Path) -> None:
    browser.open(hostile_names)
    (tmp_path / "<img src=x onerror=alert(1)>.png").write_bytes(GOOD["rgb.png"]())
    browser.upload(tmp_path / "<img src=x onerror=alert(1)>.png")
    browser.wait_for(MAP)
    browser.tab("Mistakes")
    browser.until(lambda: browser.all("#wrong .fl-map"), "no mistakes")
    browser.tab("Model")
    assert browser.driver.title.startswith("firstlight: <img")
    assert [each.get_attribute("src") for each in browser.all("img")] == [f"{hostile_names}network.svg"]
    assert len(browser.all("main script")) == 0
    assert "<script>" in browser.text(".fl-confusion")


def test_a_script_from_elsewhere_or_inside_the_page_does_not_run(page: Page) -> None:
    page.complaints()
    script = """
    for (const [name, value] of [["textContent", "document.title = 'attacked'"], ["src", "http://localhost:9/x.js"]]) {
      document.body.append(Object.assign(document.createElement("script"), { [name]: value }));
    }
    fetch("http://localhost:9/leak").catch(() => {});
    """
    page.driver.execute_script(script)
    complaints = "\n".join(page.until(page.complaints, "the policy says nothing"))
    assert "Content Security Policy" in complaints
    assert page.driver.title != "attacked"


@pytest.mark.parametrize(
    ("missing", "says"),
    [("delete window.WebAssembly", "does not offer WebAssembly"), ("delete window.OffscreenCanvas", "OffscreenCanvas")],
)
def test_an_old_browser_gets_a_plain_message(address: str, missing: str, says: str) -> None:
    with chromium() as visitor:
        visitor.driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": missing})
        visitor.driver.get(address)
        visitor.until(lambda: says in visitor.text("#startup"), "nothing is said")
        assert "current version" in visitor.text("#startup")


def test_opened_as_a_file_it_says_how_to_serve_it(browser: Page, site: Path) -> None:
    browser.driver.get((site / "index.html").as_uri())
    browser.until(lambda: "needs a web server" in browser.text("#startup"), "nothing is said")
    assert "python -m http.server" in browser.text("#startup")


def test_a_model_that_cannot_be_loaded_is_a_message(browser: Page, site: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(site, tmp_path / "demo")
    (folder / "model.onnx").write_bytes(b"no model")
    with static_server(tmp_path) as address:
        browser.open(f"{address}/demo/")
        browser.until(lambda: "could not be loaded" in browser.text("#startup"), "nothing is said")
        (folder / "model.onnx").unlink()
        browser.open(f"{address}/demo/")
        browser.until(lambda: "status 404" in browser.text("#startup"), "nothing is said")
        assert browser.all("#startup button")[0].text == "Try again"


@pytest.mark.parametrize("width_px", [1280, 390])
def test_no_tab_is_wider_than_the_window(page: Page, photo: Path, width_px: int) -> None:
    page.upload(photo)
    page.wait_for(MAP)
    for name in ("Classify", "Mistakes", "Model"):
        page.tab(name)
        assert page.overflow_px(width_px) <= 0, name


def test_on_a_phone_the_answer_comes_into_view(browser: Page, address: str) -> None:
    browser.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", PHONE)
    try:
        browser.open(address)
        browser.click(".fl-example", 1)
        browser.wait_for(MAP)
        script = (
            "const b = arguments[0].getBoundingClientRect(); return b.top >= -1 && b.top < window.innerHeight * 0.6"
        )
        heading = browser.wait_for("#answer h2")
        browser.until(lambda: browser.driver.execute_script(script, heading), "the answer is out of view")
    finally:
        browser.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_serious_problem(page: Page, tmp_path: Path, scheme: str) -> None:
    page.prefer(scheme)
    try:
        for name, content in {"photo.png": GOOD["rgb.png"](), "text.png": b"text"}.items():
            (tmp_path / name).write_bytes(content)
            page.upload(tmp_path / name)
        page.until(lambda: page.all(MAP) and page.all(".fl-refused"), "no answers")
        for name in ("Classify", "Mistakes", "Model"):
            page.tab(name)
            if name == "Mistakes":
                page.until(lambda: page.all("#wrong .fl-map"), "no mistakes")
            assert page.serious_violations() == [], name
    finally:
        page.prefer(None)


def test_without_images_the_tabs_say_so(browser: Page, bundle: Bundle, tmp_path: Path) -> None:
    from firstlight.export.web.site import write_web

    write_web(bundle, tmp_path / "demo", with_images=False)
    with static_server(tmp_path) as address:
        browser.driver.get(f"{address}/demo/")
        browser.until(lambda: "Nothing to explain yet" in browser.text(), "no page")
        assert "Or try an example" not in browser.text()
        browser.tab("Mistakes")
        assert "exported without images" in browser.text("#wrong")
        assert re.search(r"\d+ .* test accuracy|test accuracy", browser.text()) is None
