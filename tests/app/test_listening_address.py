from __future__ import annotations

import socket
import time

import pytest

from firstlight.app import listening_address as module
from firstlight.app.listening_address import listening_address
from firstlight.errors import UsageError


def test_the_first_free_port_is_chosen() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UsageError, match=f"^port {port} is in use: choose another with --port"):
            listening_address("127.0.0.1", port)
    assert listening_address(None, None)[0] == "127.0.0.1"
    assert listening_address("localhost", None)[1] >= module.DEFAULT_PORT


@pytest.mark.parametrize("host", ["192.0.2.1", "no-such-host.invalid", "a b", "x" * 300, "\udc80"])
def test_a_host_that_is_not_this_machine_is_named(host: str) -> None:
    begun_s = time.monotonic()
    with pytest.raises(UsageError, match="is not an address of this machine"):
        listening_address(host, None)
    assert time.monotonic() - begun_s < 8


def test_a_name_server_that_does_not_answer_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE_S", 0.05)
    monkeypatch.setattr(
        socket, "getaddrinfo", lambda *_, **__: time.sleep(0.5) or [(socket.AF_INET, 1, 6, "", ("127.0.0.1", 0))]
    )
    with pytest.raises(UsageError, match="is not an address of this machine"):
        listening_address("slow.example", None)


def test_a_privileged_port_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*_: object) -> OSError:
        return PermissionError(13, "Permission denied")

    monkeypatch.setattr(module, "_binding_problem", denied)
    with pytest.raises(UsageError, match="port 80 needs the rights of an administrator"):
        listening_address(None, 80)


def test_variables_of_gradio_are_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRADIO_SERVER_PORT", "many")
    with pytest.raises(UsageError, match="GRADIO_SERVER_PORT must be 1 to 65535, not 'many'"):
        listening_address(None, None)
