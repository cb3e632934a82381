"""A static host on loopback that sends files and nothing else: no compression, no special headers."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


class _Recorder(SimpleHTTPRequestHandler):
    def __init__(self, *arguments: Any, requested: list[str], **named: Any) -> None:
        self.requested = requested
        super().__init__(*arguments, **named)

    def log_message(self, *_: object) -> None:
        self.requested.append(self.path)


@contextmanager
def static_server(folder: Path, requested: list[str] | None = None) -> Iterator[str]:
    """Serve a folder as `python -m http.server` does, and yield its address without a trailing slash.

    Args:
        folder: Folder to serve.
        requested: List to which the path of every request is added.
    """
    requested = [] if requested is None else requested
    handler = partial(_Recorder, directory=str(folder), requested=requested)
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
