"""Gate: allow-lists the routes and rejects requests that would make the server fetch a URL.

Gradio offers routes that this app does not need: they relay files of other servers, convert videos, keep a history of
runs, or fetch a picture from a URL inside a request. The gate forwards only requests to routes that the page uses.
"""

from __future__ import annotations

import json
import re
import time
from collections import deque
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import unquote

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]

API = "/gradio_api"
UPLOAD = f"{API}/upload"
OPEN_EXACTLY = {
    "GET": frozenset(("/", "/config", "/theme.css", "/favicon.ico", "/manifest.json", "/robots.txt"))
    | {f"{API}/{name}" for name in ("info", "app_id", "startup-events", "queue/data", "upload_progress")}
    | {f"{API}/{name}" for name in ("theme.css", "openapi.json")},
    "POST": frozenset((UPLOAD, f"{API}/queue/join", f"{API}/cancel", f"{API}/reset")),
}
OPEN_BELOW = {
    "GET": ("/assets/", "/static/", "/svelte/", f"{API}/heartbeat/", f"{API}/call/", f"{API}/file="),
    "POST": (f"{API}/call/",),
}
MAX_BODY_BYTES = 512_000  # of every request that is not an upload
MAX_DEPTH = 20  # of nested lists and objects in the JSON of a request
_ADDRESS = re.compile(r"\s*[a-z][a-z0-9+.-]+:/", re.IGNORECASE)


class Budget:
    """Limits the bytes that all visitors together upload within a time window.

    Only bytes that have arrived are spent: uploads that announce much and send nothing keep nobody out.

    Uploads are deleted after this time, so that the budget also limits the disk space that they take.

    Args:
        num_bytes: Largest number of bytes within the window.
        window_s: Length of the window in seconds.
    """

    def __init__(self, num_bytes: int, window_s: float) -> None:
        self.num_bytes, self.window_s = num_bytes, window_s
        self._spent: deque[tuple[float, int]] = deque()

    def has(self, num_bytes: int) -> bool:
        """Return whether the budget has this many bytes left.

        >>> budget = Budget(100, 60.0)
        >>> budget.spend(70)
        >>> budget.has(40), budget.has(30)
        (False, True)
        """
        now_s = time.monotonic()
        while self._spent and self._spent[0][0] < now_s - self.window_s:
            self._spent.popleft()
        return sum(size for _, size in self._spent) + num_bytes <= self.num_bytes

    def spend(self, num_bytes: int) -> None:
        """Spend bytes that have arrived."""
        self._spent.append((time.monotonic(), num_bytes))


class Gate:
    """An ASGI middleware that answers forbidden requests with 400, 404, 411, 413 or 503 and forwards all others.

    Args:
        app: Application to which requests are forwarded.
        max_upload_bytes: Largest size of one upload request.
        budget: Limit for all uploads together.
    """

    def __init__(self, app: ASGIApp, max_upload_bytes: int, budget: Budget) -> None:
        self.app = app
        self.max_upload_bytes = max_upload_bytes
        self.budget = budget

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer or forward one request."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] == "websocket":
            await send({"type": "websocket.close"})
            return
        if not is_open(scope["method"], scope["path"]):
            await refuse(send, 404, "this address does not exist")
            return
        if scope["method"] == "POST":
            is_upload = _bare(scope["path"]) == UPLOAD
            limit = self.max_upload_bytes if is_upload else MAX_BODY_BYTES
            length = _content_length(scope)
            if any(name == b"transfer-encoding" for name, _ in scope["headers"]):
                # Its size is unknown beforehand, and beside a Content-Length the two contradict each other.
                await refuse(send, 411, "the request must have a Content-Length and no Transfer-Encoding header")
                return
            if length is None:
                await refuse(send, 411, "the request has no Content-Length header")
                return
            if length > limit:
                await refuse(send, 413, f"the request is larger than {limit / 1e6:.3g} MB: send a smaller picture")
                return
            if is_upload:
                if not self.budget.has(length):
                    await refuse(send, 503, "too many pictures at once: try again in a minute")
                    return
                receive = _spending(receive, self.budget)
            else:
                body = await _whole_body(receive)
                if names_a_url(body):
                    await refuse(send, 400, "pictures are not fetched from URLs: upload the file")
                    return
                receive = _replay(body, receive)
        await self.app(scope, receive, send)


def is_open(method: str, path: str) -> bool:
    """Return whether the page uses a route.

    >>> is_open("GET", "/config"), is_open("GET", "/gradio_api/file=http://192.168.0.1/"), is_open("POST", "/config")
    (True, False, False)
    """
    method = "GET" if method == "HEAD" else method
    path = _bare(unquote(path))
    if ".." in path.split("/") or (path.startswith(f"{API}/file=") and "://" in path):
        return False
    return path in OPEN_EXACTLY.get(method, ()) or path.startswith(OPEN_BELOW.get(method, ()))


def names_a_url(body: bytes) -> bool:
    """Return whether a JSON body names a file by a URL instead of an upload; False for a body that is not JSON.

    >>> names_a_url(b'{"data": [{"path": "http://localhost/x.png", "meta": {"_type": "gradio.FileData"}}]}')
    True
    >>> names_a_url(b'{"data": [{"path": "/tmp/gradio/x.png", "url": "http://127.0.0.1:7860/x.png"}]}')
    False
    """
    try:
        return _holds_url(json.loads(body), MAX_DEPTH)
    except (ValueError, RecursionError):
        return False


def _holds_url(value: Any, depth: int) -> bool:
    if depth == 0:
        return True  # the page sends no request that is nested this deeply
    if isinstance(value, dict):
        path = value.get("path")
        is_address = path is not None and (not isinstance(path, str) or _ADDRESS.match(path) is not None)
        return is_address or any(_holds_url(each, depth - 1) for each in value.values())
    return isinstance(value, list) and any(_holds_url(each, depth - 1) for each in value)


def _bare(path: str) -> str:
    return path.rstrip("/") or "/"


def _content_length(scope: Scope) -> int | None:
    found = [value for name, value in scope["headers"] if name == b"content-length"]
    return int(found[0]) if len(found) == 1 and found[0].isdigit() else None


def _spending(receive: Receive, budget: Budget) -> Receive:
    """Return a `receive` that spends the bytes of each part of the body as it arrives."""

    async def spend() -> Message:
        message = await receive()
        if body := message.get("body", b""):
            budget.spend(len(body))
        return message

    return spend


async def _whole_body(receive: Receive) -> bytes:
    parts = []
    while True:
        message = await receive()
        parts.append(message.get("body", b""))
        if message["type"] != "http.request" or not message.get("more_body", False):
            return b"".join(parts)


def _replay(body: bytes, receive: Receive) -> Receive:
    given = False

    async def again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


async def refuse(send: Send, status: int, detail: str) -> None:
    """Answer a request with an error in JSON."""
    body = json.dumps({"detail": detail}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
