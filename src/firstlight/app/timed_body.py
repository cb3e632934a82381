"""Timed body: the body of a request, which ends as if the client had gone if it arrives too slowly."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

STALL_S = 10.0  # without a byte
WHOLE_S = 120.0  # from the first to the last byte: 10 MB at 0.7 Mbit/s

Message = MutableMapping[str, Any]


class TimedBody:
    """A `receive` of ASGI that counts bytes as they come, and gives a slow client up.

    Args:
        receive: Function of the server that returns the next part of the body.
        on_bytes: Called with the number of bytes of each part.
        stall_s: Longest time without a byte in seconds.
        whole_s: Longest time of the whole body in seconds.
    """

    def __init__(
        self,
        receive: Callable[[], Awaitable[Message]],
        on_bytes: Callable[[int], None] = lambda _: None,
        stall_s: float = STALL_S,
        whole_s: float = WHOLE_S,
    ) -> None:
        self.receive, self.on_bytes = receive, on_bytes
        self.stall_s = stall_s
        self.is_late = False
        self._is_whole = False
        self._end_s = time.monotonic() + whole_s

    async def __call__(self) -> Message:
        """Return the next part of the body; after the last one, wait until the client goes."""
        if self._is_whole:
            return await self.receive()
        left_s = min(self.stall_s, self._end_s - time.monotonic())
        try:
            message = await asyncio.wait_for(self.receive(), max(0.0, left_s))
        except TimeoutError:
            self.is_late = True
            return {"type": "http.disconnect"}
        if body := message.get("body", b""):
            self.on_bytes(len(body))
        self._is_whole = not message.get("more_body", False)
        return message

    async def whole(self) -> bytes:
        """Return all parts together; only the parts that came in time if the client is slow."""
        parts = []
        while not self._is_whole and not self.is_late:
            parts.append((await self()).get("body", b""))
        return b"".join(parts)
