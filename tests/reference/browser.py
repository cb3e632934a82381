"""A headless Chromium, driven by what is visible on the page."""

from __future__ import annotations

import base64
import io
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
from PIL import Image

WAIT_S = 90
_Value = TypeVar("_Value")


class Page:
    """A page in a browser, with what tests look for.

    Args:
        driver: Selenium's.
    """

    def __init__(self, driver: Any) -> None:
        self.driver = driver

    def open(self, address: str) -> None:
        self.driver.get(address)
        self.wait_for(".fl-example")

    def all(self, selector: str) -> list[Any]:
        from selenium.webdriver.common.by import By

        return list(self.driver.find_elements(By.CSS_SELECTOR, selector))

    def wait_for(self, selector: str) -> Any:
        return self.until(lambda: self.all(selector), f"no {selector} on the page")[0]

    def until(self, look: Callable[[], _Value], message: str) -> _Value:
        """Repeat a check or an action until it succeeds; the page may be redrawn at any moment."""
        from selenium.common.exceptions import (
            ElementClickInterceptedException,
            ElementNotInteractableException,
            StaleElementReferenceException,
        )

        drawn_anew = (StaleElementReferenceException, ElementClickInterceptedException, ElementNotInteractableException)
        deadline = time.monotonic() + WAIT_S
        while time.monotonic() < deadline:
            try:
                if found := look():
                    return found
            except drawn_anew:
                pass
            time.sleep(0.1)
        pytest.fail(f"{message}; the page says: {self.text()[:800]}")

    def text(self, selector: str = "body") -> str:
        return self.until(lambda: ["\n".join(each.text for each in self.all(selector))], f"{selector} never rests")[0]

    def click(self, selector: str, index: int = 0) -> None:
        self._do(selector, lambda element: element.click(), index)

    def _do(self, selector: str, action: Callable[[Any], None], index: int = 0) -> None:
        """Act on an element, and repeat if the page was redrawn at that moment."""

        def act() -> bool:
            element = self.all(selector)[index : index + 1]
            if element and element[0].tag_name != "input":
                self.driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", element[0])
            for each in element:
                action(each)
            return bool(element)

        self.until(act, f"no {selector} to act on")

    def tab(self, name: str) -> None:
        def act() -> bool:
            found = [each for each in self.all("button[role=tab]") if each.text == name]
            for each in found[:1]:
                each.click()
            return bool(found)

        self.until(act, f"no tab {name}")

    def upload(self, path: Path) -> None:
        self._do("#picture input[type=file]", lambda element: element.send_keys(str(path)))

    def choose(self, dropdown: str, option: str) -> None:
        """Open a dropdown and click on an option."""

        def act() -> bool:
            listed = self.all(f"#{dropdown} [role=option]")
            if not listed:  # still closed, or closed again because the page was redrawn
                self.click(f"#{dropdown} input")
                return False
            found = [each for each in listed if each.text.strip().lstrip("✓").strip() == option]
            for each in found[:1]:
                each.click()
            return bool(found)

        self.until(act, f"{dropdown} has no option {option}")

    def slide(self, slider: str, value: float) -> None:
        """Move a slider as a hand does: value, input event, change event, release."""
        script = (
            "const [e, v] = arguments; const own = HTMLInputElement.prototype;"
            "const set = Object.getOwnPropertyDescriptor(own, 'value').set;"
            "set.call(e, v); for (const name of ['input', 'change', 'pointerup', 'mouseup'])"
            " e.dispatchEvent(new Event(name, {bubbles: true}));"
        )
        self._do(f"#{slider} input[type=range]", lambda element: self.driver.execute_script(script, element, value))

    def sources(self, selector: str) -> list[str]:
        return self.until(
            lambda: [[str(each.get_attribute("src")) for each in self.all(selector)]], f"{selector} never rests"
        )[0]

    def pixels(self, selector: str) -> np.ndarray:
        """Return the screen pixels of the first element, float [h w 3]."""
        element = self.wait_for(selector)
        self.driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", element)
        return np.asarray(Image.open(io.BytesIO(element.screenshot_as_png)).convert("RGB"), dtype=float)

    def picture(self, width_px: int, path: Path) -> None:
        """Save a screenshot of the whole page at a width."""
        metrics = {"width": width_px, "height": 900, "deviceScaleFactor": 1, "mobile": width_px < 500}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        time.sleep(0.5)
        height = int(self.driver.execute_script("return document.documentElement.scrollHeight"))
        clip = {"x": 0, "y": 0, "width": width_px, "height": height, "scale": 1}
        options = {"format": "png", "captureBeyondViewport": True, "clip": clip}
        path.write_bytes(base64.b64decode(self.driver.execute_cdp_cmd("Page.captureScreenshot", options)["data"]))
        self.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})

    def overflow_px(self, width_px: int) -> int:
        """Return how much wider the page is than a window of this width."""
        metrics = {"width": width_px, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        time.sleep(0.5)
        script = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
        found = int(self.driver.execute_script(script))
        self.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        return found

    def hints(self, width_px: int) -> int:
        """Return how many tables have a hint that they scroll sideways, in a window of this width.

        Each hint is compared with its table: one is shown if and only if the table is wider than its box.
        """
        metrics = {"width": width_px, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        time.sleep(0.5)
        script = (
            "return [...document.querySelectorAll('.scroll')].map(box =>"
            " [box.firstElementChild.scrollWidth > box.clientWidth + 1, !box.previousElementSibling.hidden])"
        )
        found = self.driver.execute_script(script)
        self.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        assert all(is_wide == has_hint for is_wide, has_hint in found), found
        return sum(has_hint for _, has_hint in found)

    def prefer(self, scheme: str | None) -> None:
        """Set the colour scheme that the user prefers, "light" or "dark"; None returns to the browser's own."""
        features = [] if scheme is None else [{"name": "prefers-color-scheme", "value": scheme}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})

    def serious_violations(self) -> list[str]:
        """Return what axe-core calls serious or critical on the page, a line for each element."""
        axe = pytest.importorskip("axe_core_python.selenium").Axe()
        serious = [each for each in axe.run(self.driver)["violations"] if each["impact"] in ("serious", "critical")]
        return [f"{each['id']}: {node['html'][:200]}" for each in serious for node in each["nodes"]]

    def hosts(self) -> set[str]:
        """Return every host that was requested since the last call."""
        found = set()
        for entry in self.driver.get_log("performance"):
            message = json.loads(entry["message"])["message"]
            if message["method"] == "Network.requestWillBeSent":
                address = message["params"]["request"]["url"]
                if address.startswith(("http", "ws")):
                    found.add(address.split("/")[2])
        return found

    def complaints(self) -> list[str]:
        """Return the errors in the browser's console since the last call."""
        return [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] == "SEVERE"]


@contextmanager
def chromium() -> Iterator[Page]:
    """Start Debian's Chromium with its driver; skip the test if they are not installed."""
    pytest.importorskip("selenium")
    browser, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not browser or not driver:
        pytest.skip("chromium and chromedriver (Debian's packages chromium and chromium-driver) are not installed")
    from selenium import webdriver
    from selenium.common.exceptions import WebDriverException
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = browser
    arguments = ["--headless=new", "--disable-dev-shm-usage", "--window-size=1280,1000", "--hide-scrollbars"]
    arguments += ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        arguments.append("--no-sandbox")  # needed by root; others keep the sandbox
    for argument in arguments:
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    try:
        started = webdriver.Chrome(options=options, service=Service(driver))
    except WebDriverException as error:  # for instance, the system allows no sandbox
        pytest.skip(f"the browser does not start: {(error.msg or '').splitlines()[:1]}")
    started.set_page_load_timeout(WAIT_S)
    try:
        yield Page(started)
    finally:
        started.quit()
