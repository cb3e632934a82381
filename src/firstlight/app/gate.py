"""Gate: allow-lists the routes and rejects requests that would make the server fetch a URL.

Gradio offers routes that this app does not need: they relay files of other servers, convert videos, keep a history of
runs, or fetch a picture from a URL inside a request. The gate forwards only requests to routes that the page uses.
"""

from __future__ import annotations

import errno
import json
import logging
import re
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import unquote

from starlette.requests import ClientDisconnect

from firstlight.app.connection_limits import network
from firstlight.app.partial_uploads import without_partial_files
from firstlight.app.timed_body import TimedBody
from firstlight.app.upload_budget import Budget

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
_log = logging.getLogger("firstlight")
_ADDRESS = re.compile(r"\s*[a-z][a-z0-9+.-]+:/", re.IGNORECASE)


class Gate:
    """An ASGI middleware that answers forbidden, slow and failing requests with an error and forwards all others.

    Args:
        app: Application to which requests are forwarded.
        max_upload_bytes: Largest size of one upload request.
        budget: Limit for all uploads together, and for those of one address.
        on_post: Called at each POST request, on the thread of the event loop.
    """

    def __init__(
        self, app: ASGIApp, max_upload_bytes: int, budget: Budget, on_post: Callable[[], None] = lambda: None
    ) -> None:
        self.app = app
        self.max_upload_bytes = max_upload_bytes
        self.budget = budget
        self.on_post = on_post

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer or forward one request."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close"})
        elif not is_open(scope["method"], scope["path"]):
            await refuse(send, 404, "this address does not exist")
        elif scope["method"] != "POST":
            await self.app(scope, receive, send)
        elif _bare(scope["path"]) == UPLOAD:
            await self._upload(scope, receive, send)
        else:
            await self._post(scope, receive, send)

    async def _upload(self, scope: Scope, receive: Receive, send: Send) -> None:
        visitor = network((scope.get("client") or ("",))[0])
        length = await _accepted_length(scope, send, self.max_upload_bytes)
        if length is None:
            return
        if not self.budget.has(length, visitor):
            await refuse(send, 503, "too many pictures at once: try again in a minute")
            return
        body = TimedBody(receive, lambda num_bytes: self.budget.spend(num_bytes, visitor))
        try:
            with without_partial_files():
                await self.app(scope, body, send)
        except ClientDisconnect:
            if body.is_late:
                await refuse_slow(send)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            _log.warning("an upload was rejected: the disk is full")
            await refuse(send, 507, "the disk of the server is full: try again in a minute")

    async def _post(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.on_post()
        if await _accepted_length(scope, send, MAX_BODY_BYTES) is None:
            return
        body = TimedBody(receive)
        content = await body.whole()
        if body.is_late:
            await refuse_slow(send)
        elif names_a_url(content):
            await refuse(send, 400, "pictures are not fetched from URLs: upload the file")
        else:
            await self.app(scope, _replay(content, receive), send)


async def _accepted_length(scope: Scope, send: Send, limit: int) -> int | None:
    """Return the length that a request announces; None if it was refused, because it announces none or too much."""
    length = _content_length(scope)
    if any(name == b"transfer-encoding" for name, _ in scope["headers"]):
        # Its size is unknown beforehand, and beside a Content-Length the two contradict each other.
        await refuse(send, 411, "the request must have a Content-Length and no Transfer-Encoding header")
    elif length is None:
        await refuse(send, 411, "the request has no Content-Length header")
    elif length > limit:
        await refuse(send, 413, f"the request is larger than {limit / 1e6:.3g} MB: send a smaller picture")
    else:
        return length
    return None


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


def _replay(body: bytes, receive: Receive) -> Receive:
    given = False

    async def again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


async def refuse(send: Send, status: int, detail: str, *headers: tuple[bytes, bytes]) -> None:
    """Answer a request with an error in JSON."""
    body = json.dumps({"detail": detail}).encode()
    about = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": [*about, *headers]})
    await send({"type": "http.response.body", "body": body})


async def refuse_slow(send: Send) -> None:
    """Answer a request whose body came too slowly, and close its connection."""
    await refuse(send, 408, "the request came too slowly: send it again", (b"connection", b"close"))
