"""Runs code as users do: without the shape and type checks that the tests install."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from jaxtyping import config


@contextmanager
def without_type_checks() -> Iterator[None]:
    """Inside, only firstlight's own checks can refuse a value."""
    config.update("jaxtyping_disable", True)
    try:
        yield
    finally:
        config.update("jaxtyping_disable", False)
