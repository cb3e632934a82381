"""Only the routes that the page uses are open, and no request makes the server fetch anything."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import pytest

from firstlight.app.gate import MAX_BODY_BYTES, Gate, is_open, names_a_url
from firstlight.app.upload_budget import Budget

REACHED = {"type": "http.response.start", "status": 200, "headers": []}


def ask(
    method: str,
    path: str,
    body: bytes = b"",
    length: str | None = "right",
    chunk: int = 10**6,
    budget: Budget | None = None,
    more: tuple[tuple[bytes, bytes], ...] = (),
) -> tuple[Any, ...]:
    """Send one request through the gate; return the status, and the body that was forwarded."""
    sent: list[Any] = []
    arrived: list[bytes] = []

    async def behind(scope: Any, receive: Any, send: Any) -> None:
        while True:
            message = await receive()
            arrived.append(message.get("body", b""))
            if not message.get("more_body"):
                break
        await send(REACHED)

    chunks = [body[start : start + chunk] for start in range(0, len(body), chunk)] or [b""]

    async def receive() -> Any:
        return {"type": "http.request", "body": chunks.pop(0), "more_body": bool(chunks)}

    async def send(message: Any) -> None:
        sent.append(message)

    value = {"right": str(len(body)), None: None}.get(length, length)
    headers = [*more] if value is None else [(b"content-length", value.encode()), *more]
    scope = {"type": "http", "method": method, "path": path, "headers": headers}
    asyncio.run(Gate(behind, 1000, budget or Budget(10**9, 60.0))(scope, receive, send))
    return sent[0]["status"], b"".join(arrived)


@pytest.mark.parametrize(
    "path",
    ["/", "/config", "/theme.css", "/assets/index.js", "/gradio_api/info", "/gradio_api/queue/data",
     "/gradio_api/heartbeat/abc", "/gradio_api/call/classify/0123", "/gradio_api/file=/tmp/firstlight/x.png",
     "/static/img/logo.svg", "/gradio_api/startup-events"],
)  # fmt: skip
def test_routes_of_the_page_are_open(path: str) -> None:
    assert ask("GET", path)[0] == 200
    assert ask("HEAD", path)[0] == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [
        *(("GET", f"/gradio_api/{name}") for name in (
            "proxy=http://127.0.0.1:1/", "file=http://127.0.0.1:1/x", "file=HTTPS://example.org/x", "deep_link",
            "run-history/buckets", "vibe-code/", "file/etc/passwd", "stream/a/b/1/playlist.m3u8", "custom_component/1",
            "dev/reload", "file=../../etc/passwd", "file=/tmp/a/../../etc/passwd", "file=/tmp/%2e%2e/etc/passwd",
        )),
        *(("POST", f"/gradio_api/{name}") for name in (
            "process_recording", "component_server", "run/classify", "api/classify", "vibe-edit", "stream/abc",
            "run-history/connect", "file=/tmp/x",
        )),
        ("GET", "/monitoring"), ("GET", "/login"), ("POST", "/login"), ("GET", "/static/../config"), ("PUT", "/"),
        ("DELETE", "/config"), ("OPTIONS", "/gradio_api/upload"), ("GET", "/docs"), ("GET", "/openapi.json"),
    ],
)  # fmt: skip
def test_all_other_routes_are_closed(method: str, path: str) -> None:
    assert ask(method, path) == (404, b"")


def test_a_body_is_forwarded_unchanged_even_in_chunks() -> None:
    body = json.dumps({"data": [1, {"path": "/tmp/x.png", "url": "http://127.0.0.1/gradio_api/file=/tmp/x.png"}]})
    assert ask("POST", "/gradio_api/queue/join", body.encode(), chunk=7) == (200, body.encode())
    assert ask("POST", "/gradio_api/upload", b"x" * 1000, chunk=9) == (200, b"x" * 1000)


@pytest.mark.parametrize("path", ["http://127.0.0.1:1/x.png", "HTTPS://host/x", "file:///etc/passwd", " http://h/", "ftp://h/x",
                                  ["/tmp/x"], {"path": "x"}, 3])  # fmt: skip
@pytest.mark.parametrize("where", ["queue/join", "call/classify", "call/v2/classify"])
def test_a_picture_that_is_a_url_is_refused_wherever_it_is_nested(path: Any, where: str) -> None:
    for nested in (lambda each: each, lambda each: {"deep": [{"value": each}]}, lambda each: [[each]]):
        body = json.dumps({"data": nested({"path": path, "meta": {"_type": "gradio.FileData"}})})
        assert ask("POST", f"/gradio_api/{where}", body.encode()) == (400, b"")


def test_escapes_and_repeated_keys_hide_no_url() -> None:
    assert names_a_url(rb'{"path": "\u0068ttp://127.0.0.1/"}')
    assert names_a_url(b'{"path": "/tmp/x", "path": "http://127.0.0.1/"}')
    assert names_a_url(json.dumps({"path": "http://h/"}).encode("utf-16"))
    assert names_a_url(b"[" * 50 + b"]" * 50)
    assert not names_a_url(b"\xff\x00 no json")
    assert not names_a_url(b'{"data": ["http://is.a/text", {"name": "http://is.a/name"}], "path": null}')


def test_windows_paths_are_no_urls() -> None:
    assert not names_a_url(json.dumps({"path": r"C:\Users\a\gradio\x.png"}).encode())


def test_large_bodies_are_refused_before_they_are_read() -> None:
    assert ask("POST", "/gradio_api/upload", b"x" * 1001) == (413, b"")
    assert ask("POST", "/gradio_api/queue/join", b"x" * (MAX_BODY_BYTES + 1)) == (413, b"")
    assert ask("POST", "/gradio_api/queue/join", b"x" * 1001)[0] == 200


def test_all_visitors_share_an_upload_budget_that_refills() -> None:
    budget = Budget(2500, 0.2, share=1.0)
    asked = [ask("POST", "/gradio_api/upload", b"x" * 1000, budget=budget)[0] for _ in range(4)]
    assert asked == [200, 200, 503, 503]
    assert ask("POST", "/gradio_api/upload", b"x" * 1000, budget=Budget(2500, 60.0, share=0.1))[0] == 503
    assert ask("POST", "/gradio_api/queue/join", b"x" * 1000, budget=budget)[0] == 200
    time.sleep(0.25)
    assert ask("POST", "/gradio_api/upload", b"x" * 1000, budget=budget)[0] == 200


@pytest.mark.parametrize("length", [None, "-1", "1e3", "", "12 "])
def test_a_request_of_unknown_length_is_refused(length: str | None) -> None:
    assert ask("POST", "/gradio_api/upload", b"x", length) == (411, b"")


@pytest.mark.parametrize("path", ["/gradio_api/upload", "/gradio_api/queue/join"])
def test_a_body_in_chunks_is_refused_also_beside_a_length(path: str) -> None:
    """The server would read the chunks to their end, whatever the length says."""
    assert ask("POST", path, b"x" * 10, more=((b"transfer-encoding", b"chunked"),)) == (411, b"")
    assert ask("POST", path, b"x" * 10, None, more=((b"transfer-encoding", b"chunked"),)) == (411, b"")


def test_only_bytes_that_arrive_are_spent() -> None:
    budget = Budget(2500, 60.0, share=1.0)
    for _ in range(5):  # each announces 900 bytes and sends 10
        assert ask("POST", "/gradio_api/upload", b"x" * 10, "900", budget=budget)[0] == 200
    assert budget.has(2450)
    assert not budget.has(2451)


def test_a_websocket_is_closed() -> None:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def nothing(*_: Any) -> Any:
        pytest.fail("nothing is to be read, and nothing to be asked behind the gate")

    asyncio.run(Gate(nothing, 1, Budget(1, 1.0))({"type": "websocket", "path": "/"}, nothing, send))
    assert sent == [{"type": "websocket.close"}]


def test_a_trailing_slash_has_no_effect() -> None:
    assert is_open("GET", "/config/")
    assert not is_open("GET", "/monitoring/")
