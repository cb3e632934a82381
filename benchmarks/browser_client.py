"""A headless Chromium and a static host on loopback, for measurements of the browser demo."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

SCRIPT_TIMEOUT_S = 300
ARGUMENTS = ("--headless=new", "--disable-dev-shm-usage", "--window-size=1280,1000", "--disable-background-networking")


class StaticHost:
    """Serves a folder without compression, and counts the bytes of the files that it sends.

    Args:
        folder: Folder to serve.
    """

    def __init__(self, folder: Path) -> None:
        self.num_bytes = 0
        handler = partial(_Handler, host=self, directory=str(folder))
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.address = f"http://127.0.0.1:{self.server.server_port}"

    def __enter__(self) -> StaticHost:
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()


class _Handler(SimpleHTTPRequestHandler):
    def __init__(self, *arguments: Any, host: StaticHost, **named: Any) -> None:
        self.host = host
        super().__init__(*arguments, **named)

    def log_message(self, *_: object) -> None:
        """Print nothing."""

    def copyfile(self, source: Any, outputfile: Any) -> None:
        """Send a file and count its bytes."""
        self.host.num_bytes += os.fstat(source.fileno()).st_size
        super().copyfile(source, outputfile)


@contextmanager
def chromium() -> Iterator[Any]:
    """Start a Chromium without a history or a cache, and yield Selenium's driver."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    browser, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not browser or not driver:
        raise SystemExit("install Debian's packages chromium and chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    for argument in (*ARGUMENTS, *(("--no-sandbox",) if os.geteuid() == 0 else ())):  # root needs the second
        options.add_argument(argument)
    started = webdriver.Chrome(options=options, service=Service(driver))
    started.set_script_timeout(SCRIPT_TIMEOUT_S)
    try:
        yield started
    finally:
        started.quit()
