"""The argument parser of verbs that must start quickly: argparse, because importing jsonargparse takes longer."""

from __future__ import annotations

import argparse
from typing import NoReturn

from firstlight.errors import UsageError


class PlainParser(argparse.ArgumentParser):
    """An argparse parser that raises a one-line UsageError instead of exiting."""

    def __init__(self, verb: str, description: str) -> None:
        super().__init__(prog=f"firstlight {verb}", description=description, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        """Raise a UsageError with the message in one line."""
        raise UsageError(f"{' '.join(message.split())}. See `{self.prog} --help`")
