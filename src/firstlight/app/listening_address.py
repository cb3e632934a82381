"""Listening address: finds a free port, and says what is wrong with a host or a port before Gradio tries them all."""

from __future__ import annotations

import errno
import os
import socket
import threading

from firstlight.errors import UsageError

DEFAULT_PORT, NUM_PORTS = 7860, 100
PATIENCE_S = 5.0  # a name server that does not answer takes longer
_NOT_HERE = "is not an address of this machine: leave --host out, or use 0.0.0.0 to listen on all of its addresses"


def listening_address(host: str | None, port: int | None) -> tuple[str, int]:
    """Return the host and a free port on it.

    Args:
        host: Address to listen on; by default `GRADIO_SERVER_NAME`, or this machine only.
        port: Port to listen on; by default `GRADIO_SERVER_PORT`, or the first free port from 7860.

    Raises:
        UsageError: The host is not an address of this machine, or the port is in use or needs other rights.

    >>> listening_address("", 80)
    Traceback (most recent call last):
    ...
    firstlight.errors.UsageError: --host is empty: leave it out, or use 0.0.0.0 to listen on all addresses
    """
    host = os.environ.get("GRADIO_SERVER_NAME") or "127.0.0.1" if host is None else host
    if not host.strip():
        raise UsageError("--host is empty: leave it out, or use 0.0.0.0 to listen on all addresses")
    family, address = _resolved(host)
    named = port if port is not None else _port_of_environment()
    ports = [named] if named is not None else list(range(DEFAULT_PORT, DEFAULT_PORT + NUM_PORTS))
    for each in ports:
        problem = _binding_problem(family, address, each)
        if problem is None:
            return host, each
        if problem.errno == errno.EADDRNOTAVAIL:
            raise UsageError(f"--host {host} {_NOT_HERE}")
        if problem.errno in (errno.EACCES, errno.EPERM):
            raise UsageError(f"port {each} needs the rights of an administrator: choose one above 1023 with --port")
        if problem.errno != errno.EADDRINUSE:
            raise UsageError(f"cannot listen on {host}, port {each}: {problem.strerror or problem}")
    wanted = f"port {ports[0]} is" if len(ports) == 1 else f"the ports {ports[0]} to {ports[-1]} are"
    raise UsageError(f"{wanted} in use: choose another with --port")


def _resolved(host: str) -> tuple[socket.AddressFamily, str]:
    """Return the family and the numeric address of a host name, without waiting long for a name server."""
    found: list[tuple[socket.AddressFamily, str]] = []

    def resolve() -> None:
        try:
            family, _, _, _, address = socket.getaddrinfo(host.strip("[]"), None, type=socket.SOCK_STREAM)[0]
            found.append((family, str(address[0])))
        except (OSError, UnicodeError):
            return

    thread = threading.Thread(target=resolve, daemon=True)
    thread.start()
    thread.join(PATIENCE_S)
    if not found:
        raise UsageError(f"--host {host} {_NOT_HERE}")
    return found[0]


def _port_of_environment() -> int | None:
    text = os.environ.get("GRADIO_SERVER_PORT")
    if not text:
        return None
    if not text.isdecimal() or not 1 <= int(text) <= 65535:
        raise UsageError(f"GRADIO_SERVER_PORT must be 1 to 65535, not {text!r}")
    return int(text)


def _binding_problem(family: socket.AddressFamily, address: str, port: int) -> OSError | None:
    with socket.socket(family, socket.SOCK_STREAM) as trial:
        if os.name == "posix":  # elsewhere this option allows to take a port that is in use
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((address, port))
        except OSError as error:
            return error
    return None
