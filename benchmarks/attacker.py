"""An attacker for the load test, on another loopback address: hostile pictures, idle connections, stalled uploads."""

from __future__ import annotations

import io
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import httpx
import numpy as np
from PIL import Image

SOURCE = "127.0.0.2"  # on Linux the whole of 127.0.0.0/8 is this machine
NUM_IDLE = 300
TIMEOUT_S = 30
HEAD = "POST /gradio_api/upload HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: multipart/form-data; boundary=x\r\n"
OPENINGS = (
    b"",
    b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n",
    f"{HEAD}Content-Length: 10000000\r\n\r\n".encode(),
    f"{HEAD}Content-Length: 10\r\nTransfer-Encoding: chunked\r\n\r\n".encode(),
)


def many_scans(num_scans: int = 3000) -> bytes:
    """Return a progressive JPEG whose last scan is repeated."""
    whole = _saved(Image.new("RGB", (2500, 2500), "grey"), "JPEG", progressive=True)
    last = whole.rindex(b"\xff\xda")
    return whole[:last] + whole[last:-2] * num_scans + whole[-2:]


def wide() -> bytes:
    """Return a PNG of 16 bits with 25 million pixels in a row."""
    return _saved(Image.fromarray(np.zeros((1, 25_000_000), np.uint16)), "PNG")


def heavy() -> bytes:
    """Return a JPEG within all limits that takes as much work as they allow."""
    return many_scans(85)


def _saved(image: Image.Image, form: str, **options: bool) -> bytes:
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


@contextmanager
def attacking(address: str) -> Iterator[dict[str, int]]:
    """Attack a server within the block, and yield a count of what was tried."""
    done, counts = threading.Event(), {"pictures": 0, "connections": 0, "refused": 0}
    workers = [threading.Thread(target=work, args=(address, done, counts)) for work in (_pictures, _connections)]
    for worker in workers:
        worker.start()
    try:
        yield counts
    finally:
        done.set()
        for worker in workers:
            worker.join()


def _pictures(address: str, done: threading.Event, counts: dict[str, int]) -> None:
    pictures = [many_scans(), wide(), heavy()]
    with httpx.Client(transport=httpx.HTTPTransport(local_address=SOURCE), timeout=TIMEOUT_S) as client:
        while not done.is_set():
            try:
                picture = pictures[counts["pictures"] % len(pictures)]
                sent = client.post(f"{address}/gradio_api/upload", files={"files": ("x", picture)})
                named = {"path": sent.json()[0], "meta": {"_type": "gradio.FileData"}}
                data = [named, 3, False, "grad_cam", "all", "predicted", 0.6]
                client.post(f"{address}/gradio_api/call/classify", json={"data": data})  # its answer is never read
            except (httpx.HTTPError, ValueError, KeyError):
                counts["refused"] += 1
            counts["pictures"] += 1
            done.wait(0.2)


def _connections(address: str, done: threading.Event, counts: dict[str, int]) -> None:
    port = urlsplit(address).port
    held: list[socket.socket] = []
    while not done.is_set():
        try:
            made = socket.create_connection(("127.0.0.1", port or 0), TIMEOUT_S, (SOURCE, 0))
            made.sendall(OPENINGS[counts["connections"] % len(OPENINGS)])
            held.append(made)
        except OSError:
            counts["refused"] += 1
        counts["connections"] += 1
        if len(held) > NUM_IDLE:
            held.pop(0).close()
        done.wait(0.02)
    for each in held:
        each.close()
