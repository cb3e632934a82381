"""Connections of a server on loopback: idle ones are closed, and one address cannot take them all."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import uvicorn

from firstlight.app.connection_limits import ConnectionLimits, limited

HEAD_S, MOST = 0.5, 5


async def answer(scope: Any, receive: Any, send: Any) -> None:
    """Answer after the time that the path names."""
    await asyncio.sleep(float(scope["path"][1:] or 0))
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


@pytest.fixture
def port() -> Iterator[int]:
    config = uvicorn.Config(answer, log_level="error", lifespan="off")
    config.load()
    config.http_protocol_class = limited(config.http_protocol_class, ConnectionLimits(HEAD_S, MOST))
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        yield listening.getsockname()[1]
        server.should_exit = True
        thread.join()


def connected(port: int, sent: bytes = b"", source: str = "127.0.0.1") -> socket.socket:
    made = socket.create_connection(("127.0.0.1", port), timeout=10, source_address=(source, 0))
    made.sendall(sent)
    return made


def answer_of(connection: socket.socket) -> bytes:
    """What comes until the answer is whole or the connection is closed."""
    found = b""
    try:
        while not found.endswith(b"ok") and (part := connection.recv(1000)):
            found += part
    except ConnectionResetError:
        return b""
    return found


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nHost: x\r\n"])
def test_a_connection_without_a_whole_request_is_closed(port: int, sent: bytes) -> None:
    begun_s = time.monotonic()
    with connected(port, sent) as waiting:
        assert waiting.recv(10) == b""
    assert HEAD_S * 0.8 < time.monotonic() - begun_s < 8


def test_bytes_that_trickle_do_not_extend_the_time(port: int) -> None:
    with connected(port, b"GET / HTTP/1.1\r\n") as waiting:
        for _ in range(100):
            try:
                waiting.sendall(b"A: b\r\n")
            except OSError:
                return
            time.sleep(0.05)
    pytest.fail("five seconds of headers")


def test_a_slow_answer_is_not_cut_and_its_connection_serves_again(port: int) -> None:
    with httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
        assert client.get(f"/{2 * HEAD_S}").text == "ok"
        assert client.get("/0").text == "ok"


def test_an_address_with_too_many_connections_loses_its_idle_ones_first(port: int) -> None:
    busy = connected(port, f"GET /{HEAD_S} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    idle = [connected(port) for _ in range(MOST - 1)]
    time.sleep(0.1)
    assert httpx.get(f"http://127.0.0.1:{port}/0").text == "ok"
    idle[0].settimeout(0.2)
    assert idle[0].recv(10) == b"", "the oldest idle one has made room"
    assert answer_of(busy).endswith(b"ok")
    for each in (busy, *idle):
        each.close()


@pytest.mark.skipif(not hasattr(socket, "AF_NETLINK"), reason="only Linux has all of 127.0.0.0/8")
def test_busy_connections_of_one_address_keep_out_nobody_else(port: int) -> None:
    slow = b"GET /1 HTTP/1.1\r\nHost: x\r\n\r\n"
    attacker = [connected(port, slow, "127.0.0.2") for _ in range(MOST + 5)]
    time.sleep(0.2)
    assert httpx.get(f"http://127.0.0.1:{port}/0").text == "ok"
    refused = [each for each in attacker if not answer_of(each)]
    assert len(refused) == 5
    for each in attacker:
        each.close()
