"""Host check: rejects requests for host names under which the page is not served, and adds security headers."""

from __future__ import annotations

import os
from collections.abc import Collection

from firstlight.app.gate import ASGIApp, Message, Receive, Scope, Send, refuse

LOOPBACK = frozenset(("localhost", "127.0.0.1", "[::1]"))
SECURITY_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    # Hugging Face shows a Space inside a frame of its own page.
    (b"content-security-policy", b"frame-ancestors 'self' https://huggingface.co https://*.hf.space"),
)


class HostCheck:
    """An ASGI middleware that answers requests for other host names with 421, and adds headers to all answers.

    This prevents DNS rebinding: another web site can make its own host name point to 127.0.0.1. The browser of a user
    who visits it then sends the site's requests to this server, and would let the site read the answers.

    Args:
        app: Application to which requests are forwarded.
        allowed: Host names without a port, in lower case; None allows every name.
    """

    def __init__(self, app: ASGIApp, allowed: Collection[str] | None) -> None:
        self.app = app
        self.allowed = allowed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer or forward one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", ()), *SECURITY_HEADERS]}
            await send(message)

        if self.allowed is not None:
            if not self._is_allowed(scope):
                await refuse(send_with_headers, 421, "this page is not served under this name: see --allow_host")
                return
            # Any client can send this header, and Gradio would take its own address from it.
            kept = [(name, value) for name, value in scope["headers"] if name != b"x-forwarded-host"]
            scope = {**scope, "headers": kept}
        await self.app(scope, receive, send_with_headers)

    def _is_allowed(self, scope: Scope) -> bool:
        hosts = [value.decode("latin-1") for name, value in scope["headers"] if name == b"host"]
        return len(hosts) == 1 and without_port(hosts[0]) in (self.allowed or ())


def allowed_hosts(bound: str | None, more: Collection[str] = ()) -> frozenset[str] | None:
    """Return the host names under which a page may be requested; None for every name.

    If the server listens on this machine only, the names are those of this machine. If others can reach it, every name
    is allowed unless the user gives names.

    Args:
        bound: Address on which the server listens; None for Gradio's default.
        more: Further names that the user allows.

    >>> sorted(allowed_hosts("127.0.0.1", ["demo.example"]))
    ['127.0.0.1', '[::1]', 'demo.example', 'localhost']
    >>> allowed_hosts("0.0.0.0") is None
    True
    """
    bound = (bound or os.environ.get("GRADIO_SERVER_NAME") or "127.0.0.1").lower()
    named = frozenset(name.lower() for name in more)
    if bound in LOOPBACK or bound == "::1":
        return LOOPBACK | named
    return LOOPBACK | named | {bound} if named else None


def without_port(host: str) -> str:
    """Return the name of a Host header in lower case.

    >>> without_port("LocalHost:7860"), without_port("[::1]:7860"), without_port("127.0.0.1")
    ('localhost', '[::1]', '127.0.0.1')
    """
    name = host.strip().lower()
    if name.startswith("["):
        return name.partition("]")[0] + "]"
    return name.partition(":")[0]
