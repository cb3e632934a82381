from __future__ import annotations

import asyncio
from typing import Any

import pytest

from firstlight.app.timed_body import TimedBody


def body_of(parts: list[bytes], pause_s: float) -> Any:
    """A `receive` that gives a part every `pause_s` seconds, and then nothing."""
    left = list(parts)

    async def receive() -> Any:
        await asyncio.sleep(pause_s if left else 600)
        return {"type": "http.request", "body": left.pop(0), "more_body": True}

    return receive


def test_a_body_that_stops_ends_as_if_the_client_had_gone() -> None:
    counted: list[int] = []
    body = TimedBody(body_of([b"ab", b"c"], 0.0), counted.append, stall_s=0.05)
    assert asyncio.run(body.whole()) == b"abc"
    assert body.is_late
    assert counted == [2, 1], "bytes are counted as they come"


def test_a_body_that_trickles_is_given_up_at_its_end() -> None:
    body = TimedBody(body_of([b"x"] * 1000, 0.02), stall_s=1.0, whole_s=0.2)
    assert len(asyncio.run(body.whole())) < 30
    assert body.is_late


def test_a_whole_body_is_not_late_and_then_waits_without_a_limit() -> None:
    async def receive() -> Any:
        if asked:
            await asyncio.sleep(0.2)
            return {"type": "http.disconnect"}
        asked.append(1)
        return {"type": "http.request", "body": b"all", "more_body": False}

    async def both() -> tuple[bytes, Any]:
        body = TimedBody(receive, stall_s=0.05, whole_s=0.05)
        return await body.whole(), await body()

    asked: list[int] = []
    assert asyncio.run(both()) == (b"all", {"type": "http.disconnect"})


@pytest.mark.parametrize("first", [{"type": "http.disconnect"}])
def test_a_client_that_goes_ends_the_body(first: Any) -> None:
    async def receive() -> Any:
        return first

    body = TimedBody(receive)
    assert asyncio.run(body.whole()) == b""
    assert not body.is_late
