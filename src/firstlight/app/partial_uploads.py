"""Delete what an upload that failed has left on the disk, at once; the sweeper would need half a minute."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import Any

_PARSERS: ContextVar[list[Any]] = ContextVar("parsers")  # of the request that is being answered


@contextmanager
def known_parsers() -> Iterator[None]:
    """Note the parser of each upload within the block, so that `without_partial_files` finds its files.

    Gradio's parser deletes its temporary files after errors of the form of a request, but not when the disk is full or
    the client goes away.
    """
    from gradio import route_utils

    original = route_utils.GradioMultiPartParser

    class Noted(original):  # type: ignore[misc,valid-type]
        """Gradio's parser, noted in the context of its request."""

        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            _PARSERS.get([]).append(self)

    route_utils.GradioMultiPartParser = Noted  # type: ignore[misc]
    try:
        yield
    finally:
        route_utils.GradioMultiPartParser = original  # type: ignore[misc]


@contextmanager
def without_partial_files() -> Iterator[None]:
    """Delete the temporary files of a request's upload that were not moved to their final path within the block."""
    parsers: list[Any] = []
    token = _PARSERS.set(parsers)
    try:
        yield
    finally:
        _PARSERS.reset(token)
        for file in (each for parser in parsers for each in getattr(parser, "_files_to_close_on_error", ())):
            with suppress(OSError):  # closing writes a buffer, for which a full disk has no space
                file.close()
            with suppress(OSError):
                Path(file.name).unlink(missing_ok=True)
