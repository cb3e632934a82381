"""A web server on this machine that fails in chosen ways.

The first part of a path says how: `/cut/data.tar.gz` is cut in the middle. What was asked for is kept in `requests`.
"""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self


@dataclass
class Request:
    """A request, and the number of content bytes sent for it."""

    path: str
    range: str | None
    if_range: str | None
    num_sent: int = 0


class FaultServer(ThreadingHTTPServer):
    """Serves `content` from every path, with the fault that the path names; ports on 127.0.0.1 only."""

    daemon_threads = True

    def __init__(self, content: bytes) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.content = content
        self.tag = '"v1"'
        self.requests: list[Request] = []
        self.is_closing = threading.Event()

    def url(self, fault: str) -> str:
        """The address with a fault."""
        return f"http://127.0.0.1:{self.server_port}/{fault}/data.tar.gz"

    def asked(self, fault: str) -> list[Request]:
        """The requests with that fault, in order."""
        return [each for each in self.requests if each.path.startswith(f"/{fault}/")]

    def __enter__(self) -> Self:
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.is_closing.set()
        self.shutdown()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    server: FaultServer

    def log_message(self, *_: object) -> None:
        """Print nothing."""

    def do_GET(self) -> None:
        fault = self.path.split("/")[1]
        self.request_ = Request(self.path, self.headers.get("Range"), self.headers.get("If-Range"))
        num_before = len(self.server.asked(fault))
        self.server.requests.append(self.request_)
        kind, _, once = fault.partition("-")
        getattr(self, f"fault_{'none' if once == 'once' and num_before else kind}")()

    def fault_none(self) -> None:
        start = self.head()
        self.send(self.server.content[start:])

    def fault_cut(self) -> None:
        start = self.head()
        rest = len(self.server.content) - start
        self.send(self.server.content[start : start + rest // 2])

    def fault_stall(self) -> None:
        self.fault_cut()
        self.server.is_closing.wait(5)

    def fault_trickle(self) -> None:
        start = self.head()
        for position in range(start, len(self.server.content)):
            self.send(self.server.content[position : position + 1])
            if self.server.is_closing.wait(0.02):
                return

    def fault_silent(self) -> None:
        self.server.is_closing.wait(5)

    def fault_404(self) -> None:
        self.send_error(404)

    def fault_500(self) -> None:
        self.send_error(500)

    def fault_longer(self) -> None:
        self.answer(200, {"Content-Length": str(len(self.server.content) + 7)})
        self.send(self.server.content + b"1234567")

    def fault_shorter(self) -> None:
        self.answer(200, {"Content-Length": str(len(self.server.content) - 7)})
        self.send(self.server.content[:-7])

    def fault_unsaid(self) -> None:
        """The response has no length; the file ends with the connection."""
        self.answer(200, {})
        self.send(self.server.content)

    def fault_corrupt(self) -> None:
        start = self.head()
        content = bytearray(self.server.content)
        content[len(content) * 3 // 4] ^= 1
        self.send(bytes(content[start:]))

    def fault_norange(self) -> None:
        self.answer(200, {"Content-Length": str(len(self.server.content))})
        self.send(self.server.content)

    def fault_otherrange(self) -> None:
        """The response has another range than requested."""
        if not self.request_.range:
            return self.fault_none()
        size = len(self.server.content)
        self.answer(206, {"Content-Length": str(size), "Content-Range": f"bytes 0-{size - 1}/{size}"})
        self.send(self.server.content)
        return None

    def fault_redirect(self) -> None:
        self.answer(302, {"Location": "/none/data.tar.gz"})

    def fault_loop(self) -> None:
        self.answer(302, {"Location": self.path})

    def fault_tofile(self) -> None:
        self.answer(302, {"Location": "file:///etc/passwd"})

    def fault_toftp(self) -> None:
        self.answer(302, {"Location": "ftp://127.0.0.1/data.tar.gz"})

    def fault_rude(self) -> None:
        """The status line holds a terminal code."""
        self.wfile.write(b"HTTP/1.0 403 no\x1b[31m way\r\n\r\n")

    def fault_changing(self) -> None:
        """The file and its tag change after the first half was sent."""
        self.fault_cut()
        self.server.tag = '"v2"'

    def head(self) -> int:
        """Respond with the requested range if it is of the current file, else with the whole file."""
        size, asked = len(self.server.content), self.request_.range
        found = re.fullmatch(r"bytes=(\d+)-", asked or "")
        is_current = self.request_.if_range in (None, self.server.tag)
        start = int(found[1]) if found and is_current else 0
        if start >= size:
            self.answer(416, {"Content-Range": f"bytes */{size}"})
        elif start:
            says = {"Content-Range": f"bytes {start}-{size - 1}/{size}", "Content-Length": str(size - start)}
            self.answer(206, says | {"ETag": self.server.tag})
        else:
            self.answer(200, {"Content-Length": str(size), "ETag": self.server.tag})
        return start

    def answer(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def send(self, content: bytes) -> None:
        try:
            self.wfile.write(content)
            self.request_.num_sent += len(content)
        except (BrokenPipeError, ConnectionResetError):
            self.server.is_closing.wait(0)
