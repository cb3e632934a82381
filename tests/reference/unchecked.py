"""Runs code as users do: without the shape and type checks that the tests install."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from jaxtyping import config


@contextmanager
def without_type_checks() -> Iterator[None]:
    """Inside the block, only firstlight's own checks can refuse a value."""
    config.update("jaxtyping_disable", True)
    try:
        yield
    finally:
        config.update("jaxtyping_disable", False)


def printed_apart(script: str) -> str:
    """Run a script in a new process and return its output, because compilers cannot trace the type checks."""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout
