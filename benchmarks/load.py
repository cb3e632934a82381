"""Measure the app under load: 20 clients upload pictures and request maps for half a minute over loopback.

    python benchmarks/load.py --place logs/page24/version_0/bundle

Every request uploads a photo and waits for the prediction with its map. The results are the number of errors, the time
of each request, requests per second, and the server's memory before the load, right after it, and after the uploads
have been deleted. With `--attack`, one attacker on another address sends hostile pictures, stalled uploads and idle
connections at the same time; the errors are those of the 20 clients.
"""

from __future__ import annotations

import argparse
import threading
import time
from contextlib import nullcontext
from pathlib import Path

import httpx
import numpy as np
import psutil

from app_client import TIMEOUT_S, classify, make_photo, server
from attacker import attacking
from record import command_line, record

NUM_PHOTOS = 40
DELETED_AFTER_S = 80  # four times a minute the app deletes uploads that are older than a minute
STAGES = ("residual3", "residual3", "residual3", "layer2", "all")  # most requests use the default


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--place", type=Path, required=True, help="a bundle")
    parser.add_argument("--num_clients", type=int, default=20)
    parser.add_argument("--duration_s", type=float, default=30)
    parser.add_argument("--attack", action="store_true", help="let an attacker try to keep the clients out")
    parser.add_argument("--dry_run", action="store_true", help="print only, write no result")
    options = parser.parse_args()
    photos = [make_photo(seed) for seed in range(NUM_PHOTOS)]
    load_average = psutil.getloadavg()[0]
    with server(options.place) as (address, process):
        warm_up(address, photos)
        before = memory_mb(process)
        with attacking(address) if options.attack else nullcontext() as attempts:
            seconds, errors, wall_s = run_clients(address, photos, options.num_clients, options.duration_s)
        after = memory_mb(process)
        time.sleep(DELETED_AFTER_S)
        left = num_uploads(process)
        rested = memory_mb(process)
    results = {
        "what": "whole requests on loopback, server and clients sharing the cores: a 1280x960 JPEG up, an answer back",
        "num_clients": options.num_clients,
        "duration_s": options.duration_s,
        "attempts_of_the_attacker": attempts,
        "num_requests": len(seconds),
        "num_errors": len(errors),
        "errors": sorted(set(errors))[:5],
        "requests_per_s": len(seconds) / wall_s,
        "latency_s": {f"p{q}": float(np.percentile(seconds, q)) for q in (50, 90, 95, 99, 100)},
        "server_memory_mb": {"before": before, "after": after, "when_uploads_were_deleted": rested},
        "uploads_left_on_disk": left,
        "load_average_before_1_min": load_average,
    }
    print(results)
    if not options.dry_run:
        print(record("app_load_attacked" if options.attack else "app_load", command_line(), results))


def warm_up(address: str, photos: list[bytes]) -> None:
    with httpx.Client(timeout=TIMEOUT_S) as client:
        for index, photo in enumerate(photos):
            classify(client, address, photo, STAGES[index % len(STAGES)])


def run_clients(
    address: str, photos: list[bytes], num_clients: int, duration_s: float
) -> tuple[list[float], list[str], float]:
    """Let every client send requests for `duration_s`; return request times, errors and the total time."""
    seconds: list[float] = []
    errors: list[str] = []
    started_s = time.perf_counter()

    def work(number: int) -> None:
        with httpx.Client(timeout=TIMEOUT_S) as client:
            turn = number
            while time.perf_counter() - started_s < duration_s:
                begun_s = time.perf_counter()
                try:
                    classify(client, address, photos[turn % len(photos)], STAGES[turn % len(STAGES)])
                    seconds.append(time.perf_counter() - begun_s)
                except (httpx.HTTPError, RuntimeError) as error:
                    errors.append(f"{type(error).__name__}: {error}"[:200])
                turn += num_clients + 1

    threads = [threading.Thread(target=work, args=(number,)) for number in range(num_clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return seconds, errors, time.perf_counter() - started_s


def memory_mb(process: psutil.Process) -> float:
    return round(process.memory_info().rss / 1e6, 1)


def num_uploads(process: psutil.Process) -> int:
    """Count the files in the server's upload folder."""
    folder = Path(process.environ().get("TMPDIR", "/tmp"))
    newest = max(folder.glob("firstlight-app-*"), key=lambda path: path.stat().st_mtime)
    return sum(path.is_file() for path in newest.rglob("*"))


if __name__ == "__main__":
    main()
