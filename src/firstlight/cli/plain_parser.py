"""The argument parser of verbs that answer at once: argparse, because jsonargparse takes half a second to import."""

from __future__ import annotations

import argparse
from typing import NoReturn

from firstlight.errors import UsageError


class PlainParser(argparse.ArgumentParser):
    """An argparse parser that reports an error in one line and leaves the exit to the caller."""

    def __init__(self, verb: str, description: str) -> None:
        super().__init__(prog=f"firstlight {verb}", description=description, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        """Raise a UsageError with the message in one line."""
        raise UsageError(f"{' '.join(message.split())}. See `{self.prog} --help`")
