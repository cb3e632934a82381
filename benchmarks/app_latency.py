"""Measure how long one person waits for a prediction with its map: inside the service, and over HTTP.

    python benchmarks/app_latency.py --place logs/page24/version_0/bundle

"service" reads the upload, predicts and renders the HTML in one process. "http" uploads the photo, sends the request
and waits for the answer over loopback. The photos have two sizes. Stages differ in cost: the last stage needs only a
forward pass.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import psutil

from app_client import TIMEOUT_S, classify, make_photo, server
from firstlight.app.panels import mistakes_panel, prediction_panel
from firstlight.app.service import MapOptions, Service
from firstlight.export.bundle import Bundle
from record import command_line, record, spread

SIZES_PX = {"1.2 megapixels": (1280, 960), "12 megapixels": (4000, 3000)}
STAGES = ("residual3", "layer2", "all")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--place", type=Path, required=True, help="a bundle")
    parser.add_argument("--num_turns", type=int, default=30)
    parser.add_argument("--dry_run", action="store_true", help="print only, write no result")
    options = parser.parse_args()
    photos = {name: make_photo(0, *size) for name, size in SIZES_PX.items()}
    load = psutil.getloadavg()[0]
    results: dict[str, Any] = {"what": "milliseconds of an upload with map, one person at a time", "load_average": load}
    service = Service(Bundle(options.place))
    for name, photo in photos.items():
        for stage in STAGES:
            results[f"service, {name}, {stage}"] = timed(lambda: answer(service, photo, stage), options.num_turns)  # noqa: B023
    pages = count(1)  # a new page in each turn, because pages are cached
    results["service, a page of mistakes"] = timed(
        lambda: mistakes_panel(service.mistakes(page=next(pages)), 1), options.num_turns
    )
    with server(options.place) as (address, _), httpx.Client(timeout=TIMEOUT_S) as client:
        for name, photo in photos.items():
            for stage in STAGES:
                ask = lambda: classify(client, address, photo, stage)  # noqa: B023, E731
                results[f"http, {name}, {stage}"] = timed(ask, options.num_turns)
    for name, numbers in results.items():
        if isinstance(numbers, dict):
            print(f"{name:40} {numbers['median']:7.1f} ms median, {max(numbers['values']):7.1f} ms longest")
    if not options.dry_run:
        print(record("app_latency", command_line(), results))


def answer(service: Service, photo: bytes, stage: str) -> str:
    upload = service.read(photo, "photo.jpg")
    return prediction_panel(service.predict(upload.pixels, MapOptions(stage=stage)), 5)


def timed(ask: Callable[[], Any], num_turns: int) -> dict[str, Any]:
    milliseconds = []
    for _ in range(num_turns + 3):
        started_s = time.perf_counter()
        ask()
        milliseconds.append((time.perf_counter() - started_s) * 1000)
    return spread(milliseconds[3:])


if __name__ == "__main__":
    main()
