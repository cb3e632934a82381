"""Connection limits: closes connections that send no request, and bounds the connections of one address.

Uvicorn waits for the first request of a connection forever. Its protocol classes are extended here, because a
middleware sees a connection only when its request has arrived.
"""

from __future__ import annotations

import asyncio
import ipaddress
from typing import Any

HEAD_S = 10.0  # from the first byte, or from the connection, to the end of the headers
MAX_BY_ADDRESS = 200  # as many as the page keeps sessions; behind a proxy, all visitors have one address


class ConnectionLimits:
    """The open connections of each address.

    Args:
        head_s: Seconds within which a connection must have sent the headers of a request.
        max_by_address: Largest number of connections of one address; further ones take the place of idle ones.
    """

    def __init__(self, head_s: float = HEAD_S, max_by_address: int = MAX_BY_ADDRESS) -> None:
        self.head_s, self.max_by_address = head_s, max_by_address
        self._open: dict[str, dict[Any, None]] = {}  # by network; a dict keeps the order in which they came

    def add(self, connection: Any) -> None:
        """Register a connection; if its address has too many, close the oldest idle one, or else this one."""
        same = self._open.setdefault(network_of(connection), {})
        if len(same) >= self.max_by_address:
            closed = next((each for each in same if is_idle(each)), connection)
            closed.transport.close()
            same.pop(closed, None)
            if closed is connection:
                return
        same[connection] = None

    def remove(self, connection: Any) -> None:
        """Forget a connection that is closed."""
        network = network_of(connection)
        same = self._open.get(network, {})
        same.pop(connection, None)
        if not same:
            self._open.pop(network, None)


def limited(protocol: type, limits: ConnectionLimits) -> type:
    """Return a subclass of one of Uvicorn's HTTP protocols that keeps the limits.

    Args:
        protocol: Class of the connections, `uvicorn.Config.http_protocol_class`.
        limits: Limits that all connections share.
    """

    class Limited(protocol):
        """A connection that is closed if it sends no request in time."""

        _timer: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            limits.add(self)
            self._watch()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self._watch()

        def connection_lost(self, exc: Exception | None) -> None:
            limits.remove(self)
            if self._timer is not None:
                self._timer.cancel()
            super().connection_lost(exc)

        def _watch(self) -> None:
            if not is_idle(self):
                if self._timer is not None:
                    self._timer.cancel()
                self._timer = None
            elif self._timer is None:
                self._timer = asyncio.get_running_loop().call_later(limits.head_s, self._expire)

        def _expire(self) -> None:
            self._timer = None
            if is_idle(self):
                self.transport.close()

    return Limited


def is_idle(connection: Any) -> bool:
    """Return whether a connection of Uvicorn's has no request in progress."""
    return connection.cycle is None or connection.cycle.response_complete


def network_of(connection: Any) -> str:
    """Return the address of the other end; of an IPv6 address the half that names its network."""
    host = connection.client[0] if connection.client else ""
    return network(host)


def network(host: str) -> str:
    """Return an IPv4 address unchanged, and of an IPv6 address the first 64 bits, which one visitor often has whole.

    >>> network("192.0.2.7"), network("2001:db8::1:2:3:4")
    ('192.0.2.7', '2001:db8::/64')
    """
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host
    return host if address.version == 4 else str(ipaddress.ip_network((address, 64), strict=False))
