"""Requests under other host names are refused, and every answer has security headers."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Any

import pytest

from firstlight.app.host_check import HostCheck, allowed_hosts

LOCAL = allowed_hosts("127.0.0.1")


def ask(allowed: Collection[str] | None, *headers: tuple[bytes, bytes]) -> tuple[int, dict[bytes, bytes], list[Any]]:
    """Return the status, the headers of the answer, and the headers that were forwarded."""
    sent: list[Any] = []
    forwarded: list[Any] = []

    async def behind(scope: Any, receive: Any, send: Any) -> None:
        forwarded.extend(scope["headers"])
        await send({"type": "http.response.start", "status": 200, "headers": [(b"x", b"y")]})

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        pytest.fail("the check reads no body")

    scope = {"type": "http", "method": "GET", "path": "/", "headers": list(headers)}
    asyncio.run(HostCheck(behind, allowed)(scope, receive, send))
    return sent[0]["status"], dict(sent[0]["headers"]), forwarded


@pytest.mark.parametrize(
    "host", [b"localhost", b"LOCALHOST:7860", b"127.0.0.1:7860", b"127.0.0.1", b"[::1]:7860", b"[::1]"]
)
def test_the_names_of_this_machine_are_answered(host: bytes) -> None:
    status, headers, _ = ask(LOCAL, (b"host", host))
    assert status == 200
    assert headers[b"x"] == b"y"
    assert headers[b"x-content-type-options"] == b"nosniff"
    assert b"frame-ancestors" in headers[b"content-security-policy"]


@pytest.mark.parametrize(
    "hosts",
    [
        [b"evil.example"],
        [b"evil.example:7860"],
        [b"127.0.0.1.evil.example"],
        [b"localhost@evil.example"],
        [b""],
        [],
        [b"localhost", b"evil.example"],
    ],
)
def test_other_names_are_refused(hosts: list[bytes]) -> None:
    status, headers, forwarded = ask(LOCAL, *((b"host", host) for host in hosts))
    assert (status, forwarded) == (421, [])
    assert headers[b"x-content-type-options"] == b"nosniff"


def test_a_name_that_only_a_header_claims_is_not_forwarded() -> None:
    sent = ((b"host", b"localhost"), (b"x-forwarded-host", b"evil.example"), (b"cookie", b"a"))
    assert ask(LOCAL, *sent)[2] == [(b"host", b"localhost"), (b"cookie", b"a")]
    assert ask(None, *sent)[2] == list(sent), "a page for others may stand behind a proxy"


def test_named_hosts_are_allowed_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GRADIO_SERVER_NAME", raising=False)
    assert ask(allowed_hosts(None, ["Demo.Example"]), (b"host", b"demo.example:443"))[0] == 200
    assert allowed_hosts("0.0.0.0") is None
    assert allowed_hosts("0.0.0.0", ["demo.example"]) == {"localhost", "127.0.0.1", "[::1]", "0.0.0.0", "demo.example"}
    monkeypatch.setenv("GRADIO_SERVER_NAME", "0.0.0.0")
    assert allowed_hosts(None) is None
