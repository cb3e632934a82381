"""Start the app in a separate process and send requests to it over HTTP."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
from PIL import Image

TIMEOUT_S = 120


@contextmanager
def server(place: Path) -> Iterator[tuple[str, psutil.Process]]:
    """Start `firstlight app PLACE` and yield its address and its process."""
    command = [sys.executable, "-m", "firstlight", "app", str(place)]
    started = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert started.stdout is not None
        line = started.stdout.readline()
        if not line.startswith("firstlight app: "):
            raise SystemExit(f"the app does not start: {line}")
        yield line.split()[2].rstrip("/"), psutil.Process(started.pid)
    finally:
        started.terminate()
        started.wait(TIMEOUT_S)


def make_photo(seed: int, width_px: int = 1280, height_px: int = 960) -> bytes:
    """Return a JPEG of smooth shapes and noise that depends on the seed, about as hard to decode as a photograph."""
    draw = np.random.default_rng(seed)
    coarse = Image.fromarray(draw.integers(0, 256, (12, 16, 3), dtype=np.uint8))
    pixels = np.asarray(coarse.resize((width_px, height_px), Image.Resampling.BICUBIC), dtype=np.int16)
    noisy = (pixels + draw.integers(-12, 13, pixels.shape)).clip(0, 255).astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(noisy).save(stream, "JPEG", quality=88)
    return stream.getvalue()


def classify(client: httpx.Client, address: str, photo: bytes, stage: str, with_map: bool = True) -> dict[str, Any]:
    """Upload a photo, request its classes and its map, and return the answer.

    Raises:
        RuntimeError: the app does not complete the request.
    """
    sent = client.post(f"{address}/gradio_api/upload", files={"files": ("photo.jpg", photo)})
    sent.raise_for_status()
    picture = {"path": sent.json()[0], "orig_name": "photo.jpg", "meta": {"_type": "gradio.FileData"}}
    data = [picture, 3, with_map, "grad_cam", stage, "predicted", 0.6]
    begun = client.post(f"{address}/gradio_api/call/classify", json={"data": data})
    begun.raise_for_status()
    events = client.get(f"{address}/gradio_api/call/classify/{begun.json()['event_id']}")
    events.raise_for_status()
    if "event: complete" not in events.text:
        raise RuntimeError(events.text[:300])
    return {"answer": events.text}
