"""Take the pictures of the app, of the report and of the audit in docs/figures with a headless Chromium.

python docs/screenshots.py BUNDLE [DIR]
python docs/screenshots.py report.html [DIR]
python docs/screenshots.py audit.html [DIR]

Chromium and its driver are Debian's packages chromium and chromium-driver.
"""

from __future__ import annotations

import base64
import io
import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any

from PIL import Image
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from firstlight.app.serving import served
from firstlight.export.bundle import Bundle

PICTURES = {"Classify": "app_classify", "Mistakes": "app_mistakes"}
REPORT_PICTURES = {  # the first and the last element of each picture
    "report_shortcut": ("#shortcuts-title", "#shortcuts"),
    "report_mistakes": (".card", ".card"),
}
AUDIT_PICTURES = {"audit_sign": ("#signs-title", "#signs")}
EXAMPLE = 7  # a horse
WIDTH_PX, MAX_HEIGHT_PX = 1280, 800
WAIT_S = 60


def start_chromium() -> Any:
    """Start a headless Chromium."""
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or "chromium"
    for argument in ("--headless=new", "--hide-scrollbars", *(["--no-sandbox"] if os.geteuid() == 0 else [])):
        options.add_argument(argument)
    return webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))


def take(driver: Any, path: Path) -> None:
    """Keep the page as a PNG, cut where a reader has seen enough."""
    whole = int(driver.execute_script("return document.documentElement.scrollHeight"))
    capture(driver, path, 0, min(whole, MAX_HEIGHT_PX))


def capture(driver: Any, path: Path, top: int, height: int) -> None:
    """Write a part of the page as a PNG."""
    clip = {"x": 0, "y": top, "width": WIDTH_PX, "height": height, "scale": 1}
    options = {"format": "png", "captureBeyondViewport": True, "clip": clip}
    content = base64.b64decode(driver.execute_cdp_cmd("Page.captureScreenshot", options)["data"])
    Image.open(io.BytesIO(content)).convert("RGB").save(path, optimize=True)
    print(path)


def main(place: Path, folder: Path) -> None:
    """Serve the bundle, choose an example, take the pictures."""
    with served(Bundle(place), "127.0.0.1") as address:
        driver = start_chromium()
        try:
            for tab, name in PICTURES.items():
                metrics = {"width": WIDTH_PX, "height": 900, "deviceScaleFactor": 1, "mobile": False}
                driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
                driver.get(address)
                wait = WebDriverWait(driver, WAIT_S)
                wait.until(lambda it: it.find_elements(By.CSS_SELECTOR, ".fl-example"))[EXAMPLE].click()
                wait.until(lambda it: it.find_elements(By.CSS_SELECTOR, ".fl-answer .fl-map"))
                tabs = driver.find_elements(By.CSS_SELECTOR, "button[role=tab]")
                next(each for each in tabs if each.text == tab).click()
                time.sleep(1.5)  # bars and tabs move into place
                take(driver, folder / f"{name}.png")
        finally:
            driver.quit()


def take_page(page: Path, folder: Path) -> None:
    """Open a report or an audit, and take the pictures of its sections."""
    is_report = page.name.startswith("report")
    ready, pictures = (".card canvas", REPORT_PICTURES) if is_report else ("#signs", AUDIT_PICTURES)
    driver = start_chromium()
    try:
        metrics = {"width": WIDTH_PX, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        driver.get(page.resolve().as_uri())
        WebDriverWait(driver, WAIT_S).until(lambda it: it.find_elements(By.CSS_SELECTOR, ready))
        time.sleep(1.5)  # maps are drawn once their images are decoded
        for name, (first, last) in pictures.items():
            script = """
            const [top, bottom] = [arguments[0], arguments[1]].map((selector) => document.querySelector(selector));
            return [top.getBoundingClientRect().top + scrollY, bottom.getBoundingClientRect().bottom + scrollY];
            """
            top, bottom = driver.execute_script(script, first, last)
            capture(driver, folder / f"{name}.png", int(top) - 8, int(bottom - top) + 16)
    finally:
        driver.quit()


if __name__ == "__main__":
    take_pictures = take_page if sys.argv[1].endswith(".html") else main
    take_pictures(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else Path(__file__).parent / "figures")
